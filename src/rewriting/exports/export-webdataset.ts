/**
 * A webdataset with the rewrites in it: the tars copied, with a caption and its rewrites as keys of each sample's `.json` member.
 *
 * open_clip draws one of them for each step with `--json-text-key "caption;caption_chatgpt;..." --json-text-key-probs 1 1 ...`: a
 * random order by these weights, of which the first key counts that is there and not empty. A sample without a usable rewrite of a
 * source lacks its key, and another takes its place.
 *
 * All other members are copied byte for byte, and what was in a `.json` stays as it is, to the last digit. Each tar is there whole or
 * not at all; the same command goes on with those that are missing.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import {
  SampleBorders,
  captionKey,
  decodeText,
  fileNameOf,
  isAddress,
  parseJsonObject,
  readShard,
  sampleMember,
  shownAddress,
} from "../../data/index.ts";
import type { RewritesFolder } from "../../data/index.ts";
import { TarWriter } from "../../formats/index.ts";
import type { TarHeader } from "../../formats/index.ts";
import {
  DataError,
  FolderLock,
  Progress,
  UsageError,
  makeFolder,
  readJson,
  refuseToReplace,
  writeFileAtomic,
} from "../../support/index.ts";
import { refuseStopped, withAlignedRewrites } from "./aligned-rewrites.ts";
import type { AlignOptions, AlignedRewrites, AlignedRow } from "./aligned-rewrites.ts";
import type { CaptionsInput } from "../captions/captions-input.ts";

/** What was written as a webdataset. */
export interface WebdatasetReport {
  out: string;
  /** Tars written now. */
  tars: number;
  /** Tars that were there, from an earlier start. */
  kept: number;
  /** Samples in the tars written now. */
  samples: number;
  /** Of those, samples whose `.json` had another text under `caption` than the caption that was rewritten; it stays. */
  otherCaptions: number;
  /** For open_clip's `--json-text-key`. */
  jsonTextKey: string;
  /** For its `--json-text-key-probs`: each text with the same chance, as in the paper. */
  jsonTextKeyProbs: number[];
}

/** Beside the tars: what they were made from. */
const recordName = "laclip-export.json";
const recordSchema = z.strictObject({
  format: z.literal("laclip-webdataset-export"),
  version: z.literal(1),
  /** Fingerprint of the captions. */
  captions: z.string(),
  /** Usable rewrites of each source. */
  rewrites: z.record(z.string(), z.number()),
});

/**
 * Writes the tars of a webdataset once more, with the rewrites in them, under the same names in another folder.
 * @param options.captions the webdataset that was rewritten: tars
 * @throws UsageError when the captions are not in tars, or two of these have one name
 * @throws DataError when the captions are not those that the rewrites were made for, a `.json` has a key of that name already, or
 *   the folder holds an export of other rewrites
 * @throws InterruptedError when stopped; finished tars stay
 */
export async function exportWebdataset(folder: RewritesFolder, options: AlignOptions & { out: string }): Promise<WebdatasetReport> {
  const { captions, out, signal } = options;
  const tars = inputTars(captions, out);
  const samples = tars.map(() => 0);
  const counted: CaptionsInput = {
    ...captions,
    async *rows() {
      for (const [i, tar] of tars.entries()) {
        for await (const batch of tar.rows()) {
          samples[i]! += batch.length;
          yield batch;
        }
      }
    },
  };
  await refuseToReplace(out, { folders: [folder.path] });
  makeFolder(out);
  const lock = FolderLock.take(join(out, "lock"), "webdataset export");
  try {
    sweep(out);
    return await withAlignedRewrites(folder, out, { ...options, captions: counted }, async (aligned) => {
      keepRecord(out, folder, aligned.usable);
      const keys = ["caption", ...aligned.sources.map((source) => captionKey(source))];
      const probs = keys.map(() => 1);
      const report = { out, tars: 0, kept: 0, samples: 0, otherCaptions: 0, jsonTextKey: keys.join(";"), jsonTextKeyProbs: probs };
      const rows = new RowCursor(aligned);
      const progress = new Progress({ label: "export", total: samples.reduce((a, b) => a + b, 0), unit: "samples" });
      try {
        for (const [i, tar] of tars.entries()) {
          const target = join(out, fileNameOf(tar.path));
          if (existsSync(target)) {
            await rows.skip(samples[i]!);
            report.kept++;
          } else {
            const copied = await copyTar(tar.path, target, { rows, keys, count: samples[i]!, signal });
            report.tars++;
            report.samples += samples[i]!;
            report.otherCaptions += copied.otherCaptions;
          }
          progress.advance(samples[i]);
        }
      } finally {
        progress.finish();
      }
      return report;
    });
  } finally {
    lock.release();
  }
}

function inputTars(captions: CaptionsInput, out: string): NonNullable<CaptionsInput["tars"]> {
  const { tars } = captions;
  if (!tars) {
    throw new UsageError(`${captions.path}: these captions are not in tars; a webdataset can only be made from one.`, {
      mend: "Give the tars that were rewritten: a folder with them, or a pattern such as shards/{00000..00012}.tar.",
    });
  }
  const names = new Set<string>();
  for (const { path } of tars) {
    const name = fileNameOf(path);
    if (names.has(name)) throw new UsageError(`Two of the tars are named ${name}; in one folder they can't both be.`);
    names.add(name);
    if (!isAddress(path) && resolve(path) === resolve(out, name))
      throw new UsageError(`${out}: the tars that are read lie in this folder. Name another one to write to.`);
  }
  return tars;
}

/** Removes what an earlier start that was killed left behind. */
function sweep(out: string): void {
  for (const name of readdirSync(out))
    if (/\.tmp-\d+$/.test(name) || name.startsWith(".join-")) rmSync(join(out, name), { recursive: true, force: true });
}

/** Tars made from other rewrites must not come to lie beside those made now. */
function keepRecord(out: string, folder: RewritesFolder, rewrites: Readonly<Record<string, number>>): void {
  const path = join(out, recordName);
  const record = { format: "laclip-webdataset-export", version: 1, captions: folder.manifest.dataset.hash, rewrites };
  if (existsSync(path)) {
    const before = recordSchema.safeParse(readJson(path, "record of an export"));
    if (before.success && JSON.stringify(before.data) === JSON.stringify(record)) return;
    throw new DataError(`${out}: this folder holds tars with other rewrites than those of ${folder.path}.`, {
      mend: "Name another folder, or remove this one.",
    });
  }
  const foreign = readdirSync(out).find((name) => name !== "lock" && !name.startsWith(".join-"));
  if (foreign !== undefined)
    throw new DataError(`${out}: this folder holds other files ("${foreign}").`, { mend: "Name a folder that does not exist yet." });
  writeFileAtomic(path, `${JSON.stringify(record)}\n`);
}

/** The aligned rows one by one. */
class RowCursor {
  readonly #batches: AsyncGenerator<readonly AlignedRow[]>;
  #batch: readonly AlignedRow[] = [];
  #at = 0;

  constructor(aligned: AlignedRewrites) {
    this.#batches = aligned.rows();
  }

  /** The next row; undefined after the last. */
  async next(): Promise<AlignedRow | undefined> {
    while (this.#at === this.#batch.length) {
      const { value, done } = await this.#batches.next();
      if (done) return undefined;
      [this.#batch, this.#at] = [value, 0];
    }
    return this.#batch[this.#at++];
  }

  async skip(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.next();
  }
}

interface CopyOptions {
  rows: RowCursor;
  /** Keys for the caption and for each of its rewrites. */
  keys: readonly string[];
  /** Samples that the tar had when its captions were read. */
  count: number;
  signal: AbortSignal | undefined;
}

/** A sample that is being copied; its `.json` comes last, when all its members are known. */
interface OpenSample {
  key: string;
  row: AlignedRow;
  json?: { header: TarHeader; text: string };
  /** Of any of its members, for a `.json` that is new. */
  like: TarHeader;
}

/** Members up to this size are copied in one piece, larger ones by the chunk. */
const smallMember = 4 << 20;

async function copyTar(from: string, to: string, { rows, keys, count, signal }: CopyOptions): Promise<{ otherCaptions: number }> {
  const shown = shownAddress(from);
  const writer = await TarWriter.create(to);
  const borders = new SampleBorders();
  let open: OpenSample | undefined;
  let [samples, otherCaptions] = [0, 0];
  const close = async (): Promise<void> => {
    if (!open) return;
    const { key, row, json, like } = open;
    const name = json?.header.name ?? `${key}.json`;
    const added = addCaptions(json?.text ?? "{}", { row, keys, where: `${shown}: the member ${name}` });
    if (added.otherCaption) otherCaptions++;
    const { mode, mtime, uid, gid, uname, gname } = json?.header ?? like;
    await writer.add({ name, mode, mtime, uid, gid, uname, gname }, Buffer.from(added.text));
  };
  const changed = (): DataError => new DataError(`${shown}: this tar has changed since its captions were read.`);
  try {
    for await (const { name, size, header, chunks, bytes } of readShard(from, signal ? { signal } : {})) {
      refuseStopped(signal);
      const member = sampleMember(name);
      // A stream for each small member would cost more than its bytes.
      const content = size <= smallMember ? bytes : async () => chunks();
      if (!member) {
        await writer.add(header, await content());
        continue;
      }
      if (borders.begins(member)) {
        await close();
        const row = samples++ < count ? await rows.next() : undefined;
        if (!row) throw changed();
        open = { key: member.key, row, like: header };
      }
      if (member.suffix === "json") open!.json = { header, text: decodeText(await bytes(), () => `${shown}: the member ${name}`) };
      else await writer.add(header, await content());
    }
    if (samples !== count) throw changed();
    await close();
    await writer.finish();
  } catch (error) {
    await writer.abandon();
    throw error;
  }
  return { otherCaptions };
}

/** Adds a caption and its rewrites to the text of a JSON object without touching a byte of what is in it: other programs' numbers may be longer than ours. */
function addCaptions(
  text: string,
  { row, keys, where }: { row: AlignedRow; keys: readonly string[]; where: string },
): { text: string; otherCaption: boolean } {
  const object = parseJsonObject(text.replace(/^\ufeff/, ""), where);
  const added: string[] = [];
  for (const [i, key] of keys.entries()) {
    const value = i === 0 ? row.caption : row.texts[i - 1];
    const there = Object.hasOwn(object, key);
    if (there && i > 0 && object[key] !== value) {
      throw new DataError(`${where} has a key "${key}" already, with another text.`, {
        mend: "Export from the tars without rewrites, or leave that source out with --sources.",
      });
    }
    if (!there && value !== undefined && value.trim() !== "") added.push(`${JSON.stringify(key)}: ${JSON.stringify(value)}`);
  }
  const own = object["caption"];
  const otherCaption = own !== undefined && (typeof own !== "string" || own.trim() !== row.caption.trim());
  if (added.length === 0) return { text, otherCaption };
  const end = text.lastIndexOf("}");
  const comma = Object.keys(object).length > 0 ? ", " : "";
  return { text: `${text.slice(0, end).trimEnd()}${comma}${added.join(", ")}}`, otherCaption };
}
