/**
 * What a packing has done so far, beside its tars: `laclip-pack.jsonl`, first what is packed and how, then a line for each finished tar.
 *
 * A line is written when its tar is in its place. A tar without a line is made again; a line torn by a crash counts as none.
 */
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { DataError, UsageError, explainWriteFailure, readJsonLines, writeAll, writeFileAtomic } from "../support/index.ts";

/** Name of the record. */
const packRecordName = "laclip-pack.jsonl";

const whole = z.number().int().nonnegative();

const settingsSchema = z.strictObject({
  samplesPerShard: whole.optional(),
  shardBytes: whole.optional(),
  resize: whole.optional(),
  quality: whole.optional(),
  order: z.enum(["shuffled", "table"]),
  seed: whole.optional(),
  decode: z.boolean(),
});

const headSchema = z.strictObject({
  format: z.literal("laclip-pack"),
  version: z.literal(1),
  settings: settingsSchema,
  /** Fingerprint of the captions, and SHA-256 over all ids, image paths, captions and rewrites. */
  data: z.strictObject({ samples: whole, captions: z.string(), texts: z.string() }),
});

const skippedSchema = z.strictObject({ position: whole, id: z.string(), image: z.string(), reason: z.string() });

const shardSchema = z.strictObject({
  shard: whole,
  /** Positions in the order that it holds, `to` not among them. */
  from: whole,
  to: whole,
  samples: whole,
  bytes: whole,
  sha256: z.string(),
  offsets: z.array(whole),
  resized: whole,
  converted: whole,
  skipped: z.array(skippedSchema),
});

/** Settings that decide the bytes of the tars. */
export type PackSettings = z.infer<typeof settingsSchema>;
/** What a packing is made from. */
export type PackHead = z.infer<typeof headSchema>;
/** An image that is in no tar. */
export type SkippedSample = z.infer<typeof skippedSchema>;
/** A finished tar. */
export type PackedShard = z.infer<typeof shardSchema>;

/** Name of a tar by its number, from 0. */
export function shardName(shard: number): string {
  return `${String(shard).padStart(5, "0")}.tar`;
}

/** The record of a folder that is being packed; only one process may have it open. */
export class PackRecord {
  readonly #path: string;
  readonly #shards: Map<number, PackedShard>;

  private constructor(path: string, shards: readonly PackedShard[]) {
    this.#path = path;
    // A tar that was made again has a second line.
    this.#shards = new Map(shards.map((shard) => [shard.shard, shard]));
  }

  /**
   * Opens the record of a folder, or begins one.
   * @throws DataError when the folder was packed from other data or with other settings, or the record is damaged
   * @throws UsageError when it holds other files
   */
  static open(folder: string, head: PackHead): PackRecord {
    const path = join(folder, packRecordName);
    if (!existsSync(path)) {
      const foreign = readdirSync(folder).find((name) => !/^lock\b/.test(name) && !name.startsWith(`${packRecordName}.tmp-`));
      if (foreign !== undefined) {
        throw new UsageError(`${folder}: this folder holds other files ("${foreign}").`, {
          mend: "Name a folder that does not exist yet.",
        });
      }
      writeFileAtomic(path, `${JSON.stringify(head)}\n`);
      sweep(folder);
      return new PackRecord(path, []);
    }
    const mend = "Remove that line and all lines after it, and their tars are made again; or pack into another folder.";
    const { lines, torn } = readJsonLines(path, "record of a packing", { mend, damaged: "mark" });
    const before = headSchema.safeParse(lines[0]?.value);
    if (!before.success) throw damaged(path);
    refuseOthers(folder, before.data, head);
    const shards = lines.slice(1).map(({ number, value, error }) => {
      if (error !== undefined) throw error;
      const shard = shardSchema.safeParse(value);
      if (shard.success) return shard.data;
      const issue = shard.error.issues[0]!;
      const where = issue.path.join(".") || "the whole line";
      throw new DataError(`${path}: line ${number} is no finished tar: ${where}: ${issue.message}.`, { mend });
    });
    refuseGaps(path, shards);
    sweep(folder);
    if (torn) writeFileAtomic(path, lines.map(({ text }) => `${text}\n`).join(""));
    return new PackRecord(path, shards);
  }

  /** The finished tars by their number. */
  get shards(): PackedShard[] {
    return [...this.#shards.values()].sort((a, b) => a.shard - b.shard);
  }

  /** Adds a tar that is in its place. */
  add(shard: PackedShard): void {
    try {
      const file = openSync(this.#path, "a");
      try {
        writeAll(file, Buffer.from(`${JSON.stringify(shard)}\n`));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    } catch (error) {
      throw explainWriteFailure(error, this.#path);
    }
    this.#shards.set(shard.shard, shard);
  }
}

/** Removes what a packing that was killed was writing; only in folders that are known to be its own. */
function sweep(folder: string): void {
  for (const name of readdirSync(folder)) if (/\.tmp-\d+$/.test(name)) rmSync(join(folder, name), { force: true });
}

/** A packing goes on behind the last tar: one that lacks its line in between would never be missed. */
function refuseGaps(path: string, shards: readonly PackedShard[]): void {
  const byNumber = new Map(shards.map((shard) => [shard.shard, shard]));
  let at = 0;
  for (let number = 0; number < byNumber.size; number++) {
    const shard = byNumber.get(number);
    if (shard?.from !== at) {
      throw new DataError(`${path}: this record of a packing lacks ${shardName(number)}, though it has others after it.`, {
        mend: `Remove all lines of tars after ${number === 0 ? "the first line of the file" : `that of ${shardName(number - 1)}`}, and they are made again; or pack into another folder.`,
      });
    }
    at = shard.to;
  }
}

function damaged(path: string): DataError {
  return new DataError(`${path}: this record of a packing is damaged, or of another version of this program.`, {
    mend: "Pack into another folder, or remove this one.",
  });
}

/** Tars of other data or settings must not come to lie beside those made now. */
function refuseOthers(folder: string, before: PackHead, now: PackHead): void {
  const names = [...new Set([...Object.keys(before.settings), ...Object.keys(now.settings)])] as (keyof PackSettings)[];
  const say = (value: string | number | boolean | undefined): string => (value === undefined ? "none" : String(value));
  const differ = names
    .filter((name) => before.settings[name] !== now.settings[name])
    .map((name) => `${name} (${say(before.settings[name])} there, ${say(now.settings[name])} now)`);
  const { samples, captions, texts } = before.data;
  if (captions !== now.data.captions || samples !== now.data.samples) differ.push(`captions (${samples} there, ${now.data.samples} now)`);
  else if (texts !== now.data.texts) differ.push("rewrites or image paths");
  if (differ.length === 0) return;
  throw new DataError(`${folder}: this folder holds tars that were packed otherwise. What differs: ${differ.join(", ")}.`, {
    mend: "Give the same data and settings to go on with it, name another folder, or remove this one.",
  });
}
