/**
 * The samples of one tar in its order, from any of them on.
 *
 * Of a tar on this machine that is not compressed, images are noted by their place and read when their turn comes, so that a block of
 * large images costs no memory. From elsewhere they come with everything else.
 */
import { DataError, invariant } from "../../support/index.ts";
import type { FilePart } from "../image-source.ts";
import { MemberTexts, textMembers } from "../member-texts.ts";
import { fileNameOf, shownAddress } from "../remote/address.ts";
import type { Patience } from "../remote/patience.ts";
import { readShard } from "../remote/read-shard.ts";
import { imageSuffixes, isPlainTar, longestMember, membersOnDisk } from "../note-samples.ts";
import { SampleBorders, sampleMember } from "../webdataset.ts";
import type { CountedShard } from "./count-samples.ts";

/** A sample as a tar has it. */
export interface TarredSample {
  /** Number of the sample in its tar, of those with an image. */
  number: number;
  /** Webdataset's key. */
  key: string;
  /** Where it stands, in words. */
  where: string;
  image: FilePart | Uint8Array;
  texts: MemberTexts;
  /** Why it can't be used. */
  problem?: string | undefined;
}

/** A member of a tar, wherever that lies. */
interface Member {
  name: string;
  size: number;
  image: () => Promise<FilePart | Uint8Array>;
  text: () => Promise<Buffer>;
}

/**
 * Reads samples.
 * @param from number of the first, from 0
 * @throws DataError when the tar is missing, damaged or changed meanwhile; EndpointError for what a server did; InterruptedError
 */
export async function* readSamples(shard: CountedShard, from: number, options: Patience = {}): AsyncGenerator<TarredSample> {
  const { address, offsets = [], stride = 1 } = shard;
  const piece = Math.min(Math.floor(from / stride), offsets.length - 1);
  const [begin, first] = piece > 0 ? [offsets[piece]!, piece * stride] : [0, 0];
  const members = isPlainTar(address) ? localMembers(address, begin) : streamedMembers(address, begin, options);
  const borders = new SampleBorders();
  let number = first;
  let open: { key: string; image: FilePart | Uint8Array | undefined; texts: Map<string, Buffer>; problem?: string } | undefined;
  const finished = (): TarredSample | undefined => {
    if (open?.image === undefined) return undefined;
    const { key, image, problem } = open;
    const sample = { key, image, texts: new MemberTexts(shownAddress(address), key, open.texts), problem };
    return { ...sample, number: number++, where: `${fileNameOf(address)}, sample ${key}` };
  };
  for await (const { name, size, image, text } of members) {
    const member = sampleMember(name);
    if (!member) continue;
    if (borders.begins(member)) {
      const sample = finished();
      if (sample && sample.number >= from) yield sample;
      open = { key: member.key, image: undefined, texts: new Map() };
    }
    const isText = textMembers.has(member.suffix);
    if (!isText && !imageSuffixes.has(member.suffix)) continue;
    // What is passed over on the way to `from` need not be kept.
    const usable = number >= from && size <= longestMember;
    if (number >= from && !usable) open!.problem ??= `the member ${name} has ${size} bytes, no more than ${longestMember} were expected`;
    if (!isText) open!.image ??= usable ? await image() : new Uint8Array();
    else if (usable) open!.texts.set(member.suffix, await text());
  }
  const sample = finished();
  if (sample && sample.number >= from) yield sample;
}

async function* localMembers(path: string, from: number): AsyncGenerator<Member> {
  for await (const { name, offset, size, text } of membersOnDisk(path, from)) {
    const image = { file: path, offset, size, name: `${fileNameOf(path)}: ${name}` };
    yield { name, size, image: () => Promise.resolve(image), text: async () => await text() };
  }
}

async function* streamedMembers(address: string, from: number, options: Patience): AsyncGenerator<Member> {
  for await (const { name, size, bytes } of readShard(address, { ...options, from })) yield { name, size, image: bytes, text: bytes };
}

/** Samples of a tar that are asked for by their number, one after the other. */
export class ShardCursor {
  readonly #shard: CountedShard;
  readonly #options: Patience;
  #samples: AsyncGenerator<TarredSample> | undefined;
  #last: TarredSample | undefined;
  #next = 0;

  constructor(shard: CountedShard, options: Patience) {
    this.#shard = shard;
    this.#options = options;
  }

  /** Number of the sample that comes next without reading anything anew. */
  get next(): number {
    return this.#next;
  }

  /**
   * The sample with this number.
   * @throws DataError also when the tar has fewer samples than were counted
   */
  async take(number: number): Promise<TarredSample> {
    // A tar that was drawn twice is read side by side with itself.
    if (this.#last?.number === number) return this.#last;
    if (this.#samples === undefined || number < this.#next) {
      await this.close();
      this.#samples = readSamples(this.#shard, number, this.#options);
      this.#next = number;
    }
    for (;;) {
      const { value, done } = await this.#samples.next();
      if (done) {
        throw new DataError(
          `${shownAddress(this.#shard.address)}: it has ${this.#next} samples with an image, where ${this.#shard.samples} were counted.`,
        );
      }
      invariant(value.number <= number, `sample ${value.number} came where ${number} was asked for`);
      this.#next = value.number + 1;
      if (value.number === number) return (this.#last = value);
    }
  }

  async close(): Promise<void> {
    const samples = this.#samples;
    this.#samples = this.#last = undefined;
    await samples?.return(undefined);
  }
}
