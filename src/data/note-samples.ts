/**
 * The samples of a tar without their images: what they say, and where their images lie.
 *
 * A tar on this machine that is not compressed is hopped through from header to header. Any other is read from front to back.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { scanTar } from "../formats/index.ts";
import { DataError, explainReadFailure } from "../support/index.ts";
import { imageExtensions } from "./caption-table.ts";
import type { FilePart } from "./image-source.ts";
import { textMembers } from "./member-texts.ts";
import { fileNameOf, isAddress } from "./remote/address.ts";
import type { Patience } from "./remote/patience.ts";
import { readShard } from "./remote/read-shard.ts";
import { SampleBorders, sampleMember } from "./webdataset.ts";

/** Suffixes of members that are images. */
export const imageSuffixes: ReadonlySet<string> = new Set([...imageExtensions].map((extension) => extension.slice(1)));

/** A sample as far as it is noted. */
export interface NotedSample {
  /** Webdataset's key. */
  key: string;
  /** Where its first image lies: in the tar, or of a tar that is compressed in its unpacked bytes. Undefined where it has none. */
  image: FilePart | undefined;
  /** Content of the members that were asked for, where there are such; by default the `.txt` and the `.json`, for `MemberTexts`. */
  texts: Map<string, Buffer>;
}

/** True for a tar of which any part can be read at once: on this machine, and by its name not compressed. */
export function isPlainTar(tar: string): boolean {
  return !isAddress(tar) && /\.tar$/i.test(tar);
}

/**
 * Notes the samples of a tar, in its order.
 * @param tar a path or an address
 * @param wanted suffixes of members whose content is kept
 * @throws DataError when it is missing, damaged, cut off, or has a text of more than 64 MiB; EndpointError for what a server did
 */
export async function* noteSamples(
  tar: string,
  patience: Patience = {},
  wanted: ReadonlySet<string> = textMembers,
): AsyncGenerator<NotedSample> {
  const borders = new SampleBorders();
  let sample: NotedSample | undefined;
  for await (const { name, offset, size, text } of isPlainTar(tar) ? membersOnDisk(tar) : membersOf(tar, patience)) {
    const place = sampleMember(name);
    if (!place) continue;
    if (borders.begins(place)) {
      if (sample) yield sample;
      sample = { key: place.key, image: undefined, texts: new Map() };
    }
    if (wanted.has(place.suffix)) sample!.texts.set(place.suffix, await text());
    else if (imageSuffixes.has(place.suffix)) sample!.image ??= { file: tar, offset, size, name: `${fileNameOf(tar)}: ${name}` };
  }
  if (sample) yield sample;
}

/** A member, and its content where that is a text. */
export interface NotedMember {
  name: string;
  offset: number;
  size: number;
  /** @throws DataError when it is too long, or the tar became shorter meanwhile */
  text: () => Buffer | Promise<Buffer>;
}

/** Bytes of the longest text or image that is read from a tar: 64 MiB. */
export const longestMember = 64 << 20;

/**
 * The members of a plain tar.
 * @param from a member's `headerOffset` to begin at
 * @throws DataError as `scanTar` does
 */
export async function* membersOnDisk(tar: string, from = 0): AsyncGenerator<NotedMember> {
  const file = openTar(tar);
  try {
    for await (const { name, offset, size } of scanTar(tar, { from })) {
      const text = (): Buffer => {
        if (size > longestMember) throw new DataError(`${tar}: the member ${name} has ${size} bytes, which is too long for a text.`);
        return readPart(file, { offset, size, tar });
      };
      yield { name, offset, size, text };
    }
  } finally {
    closeSync(file);
  }
}

async function* membersOf(tar: string, patience: Patience): AsyncGenerator<NotedMember> {
  for await (const { name, offset, size, bytes } of readShard(tar, patience)) yield { name, offset, size, text: bytes };
}

function openTar(tar: string): number {
  try {
    return openSync(tar, "r");
  } catch (error) {
    throw explainReadFailure(error, tar);
  }
}

function readPart(file: number, { offset, size, tar }: { offset: number; size: number; tar: string }): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0; at < size;) {
    const read = readSync(file, bytes, at, size - at, offset + at);
    if (read === 0) throw new DataError(`${tar}: this tar became shorter while it was read.`);
    at += read;
  }
  return bytes;
}
