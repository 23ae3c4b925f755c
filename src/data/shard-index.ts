/**
 * `laclip.index.json`: what is in the tars beside it, and where samples begin, so that a reader need not begin at a tar's beginning.
 *
 * It is written last, when all tars are there (src/curation/pack.ts). A set of tars without one is read just as well, from the front.
 */
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { DataError, readJson, writeFileAtomic } from "../support/index.ts";

/** Name of the index, in the folder of its tars. */
export const shardIndexName = "laclip.index.json";

/** Samples from one known place in a tar to the next. */
export const shardIndexStride = 256;

const whole = z.number().int().nonnegative();

const shardSchema = z.strictObject({
  /** File name of the tar. */
  name: z.string().regex(/^[^/\\]+\.tar$/),
  /** Samples in it. */
  samples: whole,
  /** Bytes of the file. */
  bytes: whole,
  /** SHA-256 of the file, hexadecimal. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Byte at which the header of the first member of every `stride`-th sample begins: of sample 0, `stride`, 2 `stride`, ... */
  offsets: z.array(whole),
});

const indexSchema = z.strictObject({
  format: z.literal("laclip-shards"),
  version: z.literal(1),
  createdWith: z.string(),
  /** The captions that were packed: name, count, and the fingerprint that rewrites folders know them by. */
  dataset: z.strictObject({ name: z.string(), count: whole, hash: z.string() }),
  /** Samples in all tars. */
  samples: whole,
  /** Images that could not be read and are in no tar. */
  skipped: whole,
  /** Names of the keys in each `.json` that hold its texts, for open_clip's `--json-text-key`: the caption's first. */
  textKeys: z.array(z.string()),
  stride: z.number().int().positive(),
  shards: z.array(shardSchema),
});

/** A tar of an indexed set. */
export type IndexedShard = z.infer<typeof shardSchema>;
/** What `laclip.index.json` holds. */
export type ShardIndex = z.infer<typeof indexSchema>;

/**
 * The index of a set of tars.
 * @param path a folder with tars, or a tar in it
 * @returns undefined where the tars have none
 * @throws DataError when it is damaged, or of a later version
 */
export function readShardIndex(path: string): ShardIndex | undefined {
  const folder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? path : dirname(path);
  const file = join(folder, shardIndexName);
  return existsSync(file) ? checked(readJson(file, "index of tars"), file) : undefined;
}

/**
 * The index in a text, which came from elsewhere.
 * @param name what messages call it
 * @throws DataError when it is damaged, or of a later version
 */
export function parseShardIndex(text: string, name: string): ShardIndex {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new DataError(`${name}: this index of tars is not valid JSON (${(error as Error).message}).`, { cause: error });
  }
  return checked(value, name);
}

function checked(value: unknown, file: string): ShardIndex {
  const parsed = indexSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new DataError(`${file}: this is no index of tars that can be read here: ${issue!.path.join(".")}: ${issue!.message}`, {
    mend: "Pack the data set again with `laclip data pack`, or remove this file: the tars are read without it too.",
  });
}

/** Writes the index of the tars in a folder, whole or not at all. */
export function writeShardIndex(folder: string, index: ShardIndex): void {
  writeFileAtomic(join(folder, shardIndexName), `${JSON.stringify(indexSchema.parse(index))}\n`);
}
