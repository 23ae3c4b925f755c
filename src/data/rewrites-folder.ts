/**
 * A rewrites folder: what language models, programs or people wrote in place of a data set's captions, joined to it by sample id.
 *
 *   manifest.json        which data set, and for each source which writer, prompt, sampling and seed
 *   parts/NNNNNN.parquet finished rewrites
 *   log/NNNNNN.jsonl     rewrites that are not in a part yet; the part of the same number replaces it
 *   lock                 held by the process that writes
 *
 * Reading never changes the folder and works while another process writes; a line torn by a crash is passed over.
 * Writing is in rewrites-writer.ts.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { readTable, tableColumns } from "../formats/index.ts";
import type { ColumnType } from "../formats/index.ts";
import { DataError, LaclipError, readText } from "../support/index.ts";
import type { CaptionsFingerprint } from "./captions-fingerprint.ts";
import { readLog } from "./rewrites-log.ts";

/** One rewrite of one caption. */
export interface Rewrite {
  /** Id of the sample whose caption was rewritten. */
  readonly id: string;
  /** Who wrote: "chatgpt", "bard", "mscoco", "human", "eda", ... */
  readonly source: string;
  /** The new caption: one line. What a model wrote even if it was rejected; see `flags`. */
  readonly text: string;
  /** What was found odd. A flag that starts with "rejected:" means: not to be used. */
  readonly flags: readonly string[];
  /** How the text ended: "stop" (by itself), "length" (cut at the limit), "none" (nothing was generated: people, programs). */
  readonly finish: string;
  /** Number of tokens the model generated; 0 where none were. */
  readonly tokens: number;
  /** Seed of the sampling, 0 to 2^31 - 1. */
  readonly seed: number;
  /** Ids of the example pairs in the prompt. */
  readonly examples: readonly string[];
  /** Chance of being drawn in training, relative to the original caption's, above 0 and up to 1. Default 1. */
  readonly weight?: number;
  /** How much better it fits the image than the original caption does, as a difference of cosines, -2..2; where that was measured. */
  readonly fit?: number;
  /** Cosine of the image and the original caption, -1..1; where that was measured, the same in all rewrites of a caption. */
  readonly captionCosine?: number;
  /** How much the original caption itself counts, above 0 and up to 1; the same in all rewrites of a caption. Default 1. */
  readonly captionWeight?: number;
}

const sourceSchema = z.strictObject({
  /** The engine: "llama-cpp", "openai-compatible", "eda", "people", ... */
  engine: z.string(),
  /** Name of the model or program. */
  model: z.string(),
  /** Hash of the model's file, or "" where there is none to take. */
  modelHash: z.string(),
  /** Hash of the prompt's form and all its example pairs, or "" where there is no prompt. */
  promptHash: z.string(),
  /** Name of the prompt's form, where there is a prompt. */
  prompt: z.string().optional(),
  /** Where the example pairs or the texts come from, in words. */
  provenance: z.string(),
  /** Temperature, top-p, limits: whatever decides the text beside prompt and seed. */
  sampling: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])),
  seed: z.number().int(),
  /** What was looked for in the texts, by the name of the check; see rewriting/checks/checks.ts. */
  checks: z
    .record(z.string(), z.strictObject({ verdict: z.enum(["reject", "flag", "off"]), limit: z.array(z.number()).optional() }))
    .optional(),
  /** How often a rewrite that these checks rejected was asked for again, where it was. */
  retries: z.number().int().optional(),
  /** How the texts were held against the images, where they were: model, policy and its numbers. */
  images: z.record(z.string(), z.union([z.number(), z.string()])).optional(),
});

/** The range of captions, by position among those that can be rewritten, that one of several shards holds; `to` is not in it. */
const shardSchema = z.strictObject({
  number: z.number().int().positive(),
  of: z.number().int().positive(),
  from: z.number().int().nonnegative(),
  to: z.number().int().nonnegative(),
});

const manifestSchema = z.strictObject({
  format: z.literal("laclip-rewrites"),
  version: z.literal(1),
  dataset: z.strictObject({ name: z.string(), count: z.number().int().nonnegative(), hash: z.string() }),
  /** How many captions were to be rewritten, the most of all runs: fewer than there are with a limit, or where some are there twice. */
  captions: z.number().int().nonnegative().optional(),
  /** Set where the folder is to hold a part of the data set only. */
  shard: shardSchema.optional(),
  sources: z.record(z.string(), sourceSchema),
  created: z.string(),
  createdWith: z.string(),
});

/** How one source of a folder was written. */
export type RewriteSource = z.infer<typeof sourceSchema>;
/** Which of several shards of its data set a folder holds. */
export type RewritesShard = z.infer<typeof shardSchema>;
/** What `manifest.json` holds. */
export type RewritesManifest = z.infer<typeof manifestSchema>;

/** Columns of a part, in order. */
export const rewriteColumns = {
  id: "text",
  source: "text",
  text: "text",
  flags: "text[]",
  finish: "text",
  tokens: "integer",
  seed: "integer",
  examples: "text[]",
  weight: "number",
  fit: "number",
  captionCosine: "number",
  captionWeight: "number",
} as const satisfies Readonly<Record<keyof Rewrite, ColumnType>>;

/** A shard in words: "shard 3/16 (captions 250 to 374)". */
export function describeShard({ number, of, from, to }: RewritesShard): string {
  return `shard ${number}/${of} (captions ${from + 1} to ${to})`;
}

/** False for a rewrite that was rejected: it is kept to be looked at, and must not be trained on. */
export function isUsable(rewrite: Pick<Rewrite, "flags">): boolean {
  return !rewrite.flags.some((flag) => flag.startsWith("rejected:"));
}

/** A rewrites folder that is open for reading. */
export class RewritesFolder {
  constructor(
    readonly path: string,
    readonly manifest: RewritesManifest,
  ) {}

  /** Names of the sources, in the order in which they were added. */
  get sources(): string[] {
    return Object.keys(this.manifest.sources);
  }

  /** Counts the rewrites by reading them. */
  async count(): Promise<number> {
    let count = 0;
    for await (const batch of this.read()) count += batch.length;
    return count;
  }

  /**
   * All rewrites, in batches. Rejected ones are among them: see `isUsable`.
   * @param options.sources only these sources. Default: all
   * @throws DataError when a source is not in the folder, or a part is damaged
   */
  async *read(options: { sources?: readonly string[] } = {}): AsyncGenerator<Rewrite[]> {
    const wanted = options.sources && new Set(options.sources);
    for (const source of wanted ?? []) this.#mustHave(source);
    for (const segment of segments(this.path)) {
      for await (const batch of readSegment(this.path, segment)) {
        const chosen = wanted ? batch.filter((rewrite) => wanted.has(rewrite.source)) : batch;
        if (chosen.length > 0) yield chosen;
      }
    }
  }

  /**
   * The usable rewrites by sample id, for joining them to a data set in memory.
   * @returns for each id its texts, ordered by source as in `options.sources`
   * @throws DataError when a source is not in the folder, or a part is damaged
   */
  async texts(options: { sources?: readonly string[] } = {}): Promise<Map<string, { source: string; text: string }[]>> {
    const order = new Map((options.sources ?? this.sources).map((source, i) => [source, i]));
    const texts = new Map<string, { source: string; text: string }[]>();
    for await (const batch of this.read(options)) {
      for (const rewrite of batch) {
        if (!isUsable(rewrite)) continue;
        const entry = { source: rewrite.source, text: rewrite.text };
        const list = texts.get(rewrite.id);
        if (list) list.push(entry);
        else texts.set(rewrite.id, [entry]);
      }
    }
    // The order of rows on disk depends on when each was finished; training must not.
    for (const list of texts.values()) list.sort((a, b) => order.get(a.source)! - order.get(b.source)! || (a.text < b.text ? -1 : 1));
    return texts;
  }

  /**
   * Refuses a folder that was made for other captions.
   * @throws DataError saying both counts and both fingerprints
   */
  assertMadeFor(fingerprint: CaptionsFingerprint, dataset: string): void {
    const own = this.manifest.dataset;
    if (own.hash === fingerprint.hash && own.count === fingerprint.count) return;
    throw new DataError(
      `${this.path}: these rewrites belong to another data set: they were made for "${own.name}" (${own.count} captions, fingerprint ${own.hash.slice(0, 12)}), ` +
        `not for ${dataset} (${fingerprint.count} captions, fingerprint ${fingerprint.hash.slice(0, 12)}).`,
      {
        mend: "Give the rewrites folder of this data set, or the captions file that the rewrites were made from (same ids and captions, from the same columns; the order of rows does not matter).",
      },
    );
  }

  #mustHave(source: string): void {
    if (Object.hasOwn(this.manifest.sources, source)) return;
    throw new DataError(
      `${this.path}: there are no rewrites from source "${source}" in this folder. It has: ${this.sources.join(", ") || "none"}.`,
      {
        mend: `Leave that source out, or write it with \`laclip rewrite ... --out ${this.path} --sources ${source}\`.`,
      },
    );
  }
}

/**
 * Opens a rewrites folder for reading.
 * @throws DataError when there is no such folder, or its manifest is missing, damaged or of a later version
 */
export async function openRewritesFolder(path: string): Promise<RewritesFolder> {
  return new RewritesFolder(path, readManifest(path));
}

/** True where a rewrites folder was begun. */
export function isRewritesFolder(path: string): boolean {
  return existsSync(join(path, "manifest.json"));
}

/** The manifest of a folder, checked. */
export function readManifest(path: string): RewritesManifest {
  if (!existsSync(path))
    throw new DataError(`${path}: no such rewrites folder.`, { mend: "Make one with `laclip rewrite CAPTIONS --out FOLDER ...`." });
  if (!statSync(path).isDirectory()) throw new DataError(`${path}: this is a file, expected a rewrites folder.`);
  const file = join(path, "manifest.json");
  if (!existsSync(file) && existsSync(join(path, "shards"))) {
    throw new DataError(`${path}: this folder holds shards of rewrites (in ${join(path, "shards")}) that are not merged yet.`, {
      mend: `Merge them when all are done: \`laclip rewrites merge ${path} --out FOLDER\`, and use that folder.`,
    });
  }
  if (!existsSync(file))
    throw new DataError(`${path}: this is no rewrites folder: it has no manifest.json.`, {
      mend: "Give a folder that `laclip rewrite` wrote.",
    });
  const value = readManifestFile(file);
  const found = manifestSchema.safeParse(value);
  if (found.success) return found.data;
  const { format, version } = (value ?? {}) as { format?: unknown; version?: unknown };
  if (format === "laclip-rewrites" && typeof version === "number" && version > 1) {
    throw new DataError(`${file}: version ${version} of the rewrites format, this program reads version 1.`, {
      mend: "Use a newer laclip.",
    });
  }
  const issue = found.error.issues[0]!;
  throw new DataError(`${file}: this is not the manifest of a rewrites folder: ${issue.path.join(".") || "top level"}: ${issue.message}.`, {
    mend: "Give a folder that `laclip rewrite` wrote.",
  });
}

/** @throws DataError that says what to do where the file is there and no JSON */
function readManifestFile(file: string): unknown {
  const text = readText(file, "manifest");
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(`${file}: this manifest is not valid JSON (${(error as Error).message}).`, {
      mend:
        "Put a copy of it back. Without one, delete it and start every command again that wrote into the folder, with the same captions and " +
        "settings: it is written anew, and the rewrites stay. What `laclip rewrites merge` wrote is merged again, into a new folder.",
      cause: error,
    });
  }
}

/** Numbers of a folder's segments, ascending; each is a part, a log, or (after a crash) both. */
export function segments(path: string): string[] {
  const names = (folder: string, extension: string): string[] =>
    existsSync(join(path, folder))
      ? readdirSync(join(path, folder))
          .filter((name) => /^\d{6}\./.test(name) && name.endsWith(extension))
          .map((name) => basename(name, extension))
      : [];
  return [...new Set([...names("parts", ".parquet"), ...names("log", ".jsonl")])].sort();
}

/** Path of a segment's parquet part, whether there is one or not. */
export function partPath(path: string, segment: string): string {
  return join(path, "parts", `${segment}.parquet`);
}

/** Path of a segment's log, whether there is one or not. */
export function logPath(path: string, segment: string): string {
  return join(path, "log", `${segment}.jsonl`);
}

/**
 * The rewrites of one segment, in batches.
 * @throws DataError when its part or log is damaged
 */
export async function* readSegment(path: string, segment: string): AsyncGenerator<Rewrite[]> {
  const [part, log] = [partPath(path, segment), logPath(path, segment)];
  if (!existsSync(part)) {
    try {
      return yield* readLog(log);
    } catch (error) {
      // A writer may have turned the log into a part since we looked; a log that was opened is read to its end even then.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || !existsSync(part)) throw error;
    }
  }
  yield* readPart(part);
}

/** What tells nothing of a file's contents: it is whole for all we know, and must not be deleted. */
const notOfContents = /Cannot open|Could not (?:read|open)|Permission denied|Too many open files|Out of Memory|no such file/i;

/**
 * The error of a part that can't be read, with what to do about it. One that is not of the file's contents is left as it is.
 */
export function damagedPart(part: string, error: unknown): unknown {
  if (!LaclipError.is(error) || notOfContents.test(error.message)) return error;
  const mend = `Delete ${part}, then start the same \`laclip rewrite\` again (or what else wrote the folder): it writes anew what is missing.`;
  return new DataError(error.message, { mend, cause: error });
}

async function* readPart(part: string): AsyncGenerator<Rewrite[]> {
  try {
    yield* partRows(part);
  } catch (error) {
    throw damagedPart(part, error);
  }
}

async function* partRows(part: string): AsyncGenerator<Rewrite[]> {
  // Folders of before rewrites were held against images lack these columns; where they are, they are empty unless somebody did.
  const { weight: _weight, fit: _fit, captionCosine: _cosine, captionWeight: _captionWeight, ...required } = rewriteColumns;
  const known = await tableColumns(part);
  const names = Object.keys(required);
  const optional = (["weight", "fit", "captionCosine", "captionWeight"] as const).filter((name) => known.includes(name));
  for await (const { rows, columns } of readTable(part, { columns: [...names, ...optional] })) {
    yield Array.from({ length: rows }, (_, i) => {
      const rewrite = Object.fromEntries(names.map((name) => [name, columns[name]![i]]));
      for (const name of optional) {
        const value = columns[name]![i];
        if (value !== null && value !== undefined) rewrite[name] = Number(value);
      }
      return rewrite as unknown as Rewrite;
    });
  }
}
