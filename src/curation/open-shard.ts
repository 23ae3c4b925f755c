/**
 * A tar of a packing while it is written: where its samples begin, what was left out of it, and its line in the record at the end.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { shardIndexStride } from "../data/index.ts";
import { TarWriter } from "../formats/index.ts";
import { invariant, sha256File } from "../support/index.ts";
import { shardName } from "./pack-record.ts";
import type { PackRecord, PackedShard, SkippedSample } from "./pack-record.ts";
import type { StoredImage } from "./packed-sample.ts";

/** Bytes that a member takes in a tar: its header, and its content in whole blocks. */
export function sizeInTar(bytes: number): number {
  return 512 + Math.ceil(bytes / 512) * 512;
}

/** A tar that is being written, and the places of its samples. */
export class OpenShard {
  samples = 0;
  /** As far as it is written, with the blocks that will end it. */
  bytes = 1024;
  readonly #offsets: number[] = [];
  readonly #skipped: SkippedSample[] = [];
  readonly #changes = { resized: 0, converted: 0 };

  private constructor(
    readonly tar: TarWriter,
    readonly about: { shard: number; from: number; record: PackRecord },
  ) {}

  static async begin(folder: string, about: { shard: number; from: number; record: PackRecord }): Promise<OpenShard> {
    return new OpenShard(await TarWriter.create(join(folder, shardName(about.shard))), about);
  }

  async add(key: string, members: readonly (readonly [suffix: string, bytes: Uint8Array])[], change: StoredImage["change"]): Promise<void> {
    if (this.samples % shardIndexStride === 0) this.#offsets.push(this.bytes - 1024);
    // The same time for all: the bytes of a tar are to follow from what is packed.
    for (const [suffix, bytes] of members) {
      await this.tar.add({ name: `${key}.${suffix}`, mtime: new Date(0) }, bytes);
      this.bytes += sizeInTar(bytes.byteLength);
    }
    this.samples++;
    if (change !== undefined) this.#changes[change]++;
  }

  skip(sample: SkippedSample): void {
    this.#skipped.push(sample);
  }

  /** Puts the tar in its place and then into the record. */
  async close(to: number): Promise<PackedShard> {
    const { shard, from, record } = this.about;
    await this.tar.finish();
    const { size } = statSync(this.tar.path);
    invariant(size === this.bytes, `${this.tar.path} has ${size} bytes, ${this.bytes} were counted`);
    const sha256 = await sha256File(this.tar.path);
    const { samples, bytes } = this;
    const closed = { shard, from, to, samples, bytes, sha256, offsets: this.#offsets, ...this.#changes, skipped: this.#skipped };
    record.add(closed);
    return closed;
  }

  /** Removes what was written so far. */
  async abandon(): Promise<void> {
    await this.tar.abandon();
  }
}
