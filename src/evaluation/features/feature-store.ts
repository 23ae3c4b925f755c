/**
 * Features on disk, so that a model sees an image once, however many tasks ask for it.
 *
 * An entry is named by everything that its numbers depend on: weights, data, and what was done to the images. So nothing in it can be
 * out of date, and a model of other sizes has another entry. It is written in chunks, each whole or not there; a run that was killed
 * goes on behind the last of them, and a damaged chunk is made again alone.
 *
 *   NAME-HASH/manifest.json              the key, and how many items there are
 *   NAME-HASH/chunks.jsonl               a line for each chunk: its items, SHA-256, and the items that could not be read
 *   NAME-HASH/chunk-FROM.safetensors     `rows` int32 [n]: which items; a tensor float32 [n, width] for each kind of feature
 *   NAME-HASH/lock                       held by the process that writes
 *
 * A folder may be deleted at any time: the features are made again.
 */
import { appendFileSync, existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { type StoredTensor, readSafetensors, writeSafetensors } from "../../formats/index.ts";
import {
  FolderLock,
  LaclipError,
  explainWriteFailure,
  log,
  makeFolder,
  readJsonLines,
  replaceFile,
  sha256,
  sha256File,
  writeFileAtomic,
} from "../../support/index.ts";

/** Everything that features depend on. */
export interface FeatureKey {
  /** Hash of the weights and of the model's description. */
  readonly model: string;
  /** Hash of the items, in their order. */
  readonly data: string;
  /** What was done to an item before the model saw it: size, interpolation, mean, ... */
  readonly transform: Readonly<Record<string, unknown>>;
}

/** Some items and their features. */
export interface FeatureChunk {
  /** Items that it stands for: from this one up to, not including, that one. */
  readonly from: number;
  readonly to: number;
  /** `[n]` those of them that could be read, rising. */
  readonly rows: Int32Array;
  /** `[n, width]` by kind of feature, in row-major order. */
  readonly features: Readonly<Record<string, Float32Array>>;
  /** Those that could not be read, and why. */
  readonly unreadable: readonly { readonly row: number; readonly reason: string }[];
}

/** Makes the features of the items `from` up to `to`, chunk by chunk, without gaps. */
export type MakeFeatures = (from: number, to: number) => AsyncIterable<FeatureChunk>;

/** What is asked for. */
export interface FeatureRequest {
  readonly key: FeatureKey;
  /** Items in all. */
  readonly items: number;
  /** What the folder is called, for people. */
  readonly name: string;
  readonly make: MakeFeatures;
}

const chunkSchema = z.object({
  from: z.number().int().nonnegative(),
  to: z.number().int().nonnegative(),
  sha256: z.string(),
  unreadable: z.array(z.object({ row: z.number().int(), reason: z.string() })),
});

type ChunkLine = z.infer<typeof chunkSchema>;

const rowsName = "rows";

/** The folder where features are kept by default: LACLIP_FEATURES, else `laclip/features` in the user's cache. */
export function defaultFeatureFolder(): string {
  return process.env["LACLIP_FEATURES"] || join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "laclip", "features");
}

function makeEntry(entry: string): void {
  try {
    makeFolder(entry);
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    throw new LaclipError(error.message, {
      mend: "Keep features elsewhere (--features FOLDER, or LACLIP_FEATURES), or not at all (--no-features).",
      cause: error,
    });
  }
}

/** Features by key, in a folder. */
export class FeatureStore {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Where the features of a key are. */
  entry({ key, name }: Pick<FeatureRequest, "key" | "name">): string {
    const hash = sha256(JSON.stringify([key.model, key.data, key.transform])).slice(0, 16);
    return join(this.folder, `${name.replace(/[^\p{L}\p{N}.-]+/gu, "-").slice(0, 60)}-${hash}`);
  }

  /**
   * The chunks of a request in the order of their items; what is not in the store, or is damaged there, is made and kept.
   * @throws LaclipError when nothing can be written there; DataError when another process writes the same entry; whatever `make` throws
   */
  async *chunks(request: FeatureRequest): AsyncGenerator<FeatureChunk> {
    const entry = this.entry(request);
    const known = await soundLines(entry, () => undefined);
    if (isCovered(known, request.items)) {
      for (const line of known) yield readChunk(entry, line);
      return;
    }
    makeEntry(entry);
    const lock = await FolderLock.acquire(join(entry, "lock"), "feature entry");
    try {
      // Another process may have gone on in the meantime.
      const lines = await soundLines(entry, (complaint) => log.warn(complaint));
      writeFileAtomic(
        join(entry, "manifest.json"),
        `${JSON.stringify({ format: "laclip-features-1", ...request.key, items: request.items })}\n`,
      );
      writeFileAtomic(join(entry, "chunks.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
      if (lines.length > 0)
        log.info(`${entry}: ${lines.reduce((sum, { from, to }) => sum + to - from, 0)} of ${request.items} are there already.`);
      let at = 0;
      for (const line of [...lines, { from: request.items, to: request.items }]) {
        if (line.from > at) {
          for await (const chunk of request.make(at, line.from)) {
            lock.assertHeld();
            await writeChunk(entry, chunk);
            yield chunk;
          }
        }
        if ("sha256" in line) yield readChunk(entry, line);
        at = line.to;
      }
    } finally {
      lock.release();
    }
  }
}

/** The lines of chunks that are as they were written, in the order of their items, none overlapping another. */
async function soundLines(entry: string, tell: (complaint: string) => void): Promise<ChunkLine[]> {
  const path = join(entry, "chunks.jsonl");
  if (!existsSync(path)) return [];
  // A damaged line costs the time of its chunk, and must not cost more.
  const { lines } = readJsonLines(path, "list of chunks", { damaged: "mark" });
  const known = lines.flatMap(({ number, value }) => {
    const line = chunkSchema.safeParse(value);
    if (line.success) return [line.data];
    tell(`${path}: line ${number} is no chunk; its features are made again.`);
    return [];
  });
  const sound: ChunkLine[] = [];
  for (const line of known.toSorted((a, b) => a.from - b.from)) {
    if (line.from < (sound.at(-1)?.to ?? 0)) continue;
    const file = chunkFile(entry, line.from);
    const hash = existsSync(file) ? await sha256File(file) : undefined;
    if (hash === line.sha256) sound.push(line);
    else tell(`${file}: ${hash === undefined ? "missing" : "damaged"}; these features are made again.`);
  }
  return sound;
}

function isCovered(lines: readonly ChunkLine[], items: number): boolean {
  let at = 0;
  for (const { from, to } of lines) {
    if (from !== at) return false;
    at = to;
  }
  return at === items;
}

function chunkFile(entry: string, from: number): string {
  return join(entry, `chunk-${String(from).padStart(8, "0")}.safetensors`);
}

async function writeChunk(entry: string, { from, to, rows, features, unreadable }: FeatureChunk): Promise<void> {
  const path = chunkFile(entry, from);
  const tensors: [string, StoredTensor][] = Object.entries(features).map(([name, values]) => [
    name,
    { dtype: "F32", shape: [rows.length, rows.length === 0 ? 0 : values.length / rows.length], data: bytesOf(values) },
  ]);
  tensors.push([rowsName, { dtype: "I32", shape: [rows.length], data: bytesOf(rows) }]);
  let hash = "";
  await replaceFile(path, async (beside) => {
    writeSafetensors(beside, tensors);
    hash = await sha256File(beside);
  });
  const [lines, line] = [join(entry, "chunks.jsonl"), { from, to, sha256: hash, unreadable: [...unreadable] } satisfies ChunkLine];
  try {
    appendFileSync(lines, `${JSON.stringify(line)}\n`, { flush: true });
  } catch (error) {
    throw explainWriteFailure(error, lines);
  }
}

function readChunk(entry: string, { from, to, unreadable }: ChunkLine): FeatureChunk {
  const { tensors } = readSafetensors(chunkFile(entry, from));
  const features: Record<string, Float32Array> = {};
  let rows = new Int32Array();
  for (const [name, { data }] of tensors) {
    if (name === rowsName) rows = new Int32Array(data.buffer as ArrayBuffer, 0, data.byteLength / 4);
    else features[name] = new Float32Array(data.buffer as ArrayBuffer, 0, data.byteLength / 4);
  }
  return { from, to, rows, features, unreadable };
}

function bytesOf(array: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
