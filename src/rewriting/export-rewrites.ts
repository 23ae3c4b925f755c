/**
 * Rewrites in the forms that other programs read: csv and jsonl rows with ids, and LaCLIP's text files, one line a caption.
 */
import { createWriteStream, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import type { Rewrite, RewritesFolder } from "../data/index.ts";
import { DataError, explainWriteFailure } from "../support/index.ts";
import { datasetName } from "./captions-input.ts";
import type { CaptionsInput } from "./captions-input.ts";

/** Formats in which rewrites are written row by row. */
export type RowsFormat = "csv" | "jsonl";

/**
 * Writes all rewrites as rows: id, source, text, flags, finish, tokens, seed, examples. In csv, lists are joined by spaces.
 * @param out a file, written beside its place and renamed, or a stream
 * @returns number of rows
 */
export async function exportRows(
  folder: RewritesFolder,
  { to, out, sources }: { to: RowsFormat; out: string | Writable; sources?: readonly string[] },
): Promise<number> {
  const write = async (stream: Writable): Promise<number> => {
    let rows = 0;
    if (to === "csv") await put(stream, "id,source,text,flags,finish,tokens,seed,examples\n");
    for await (const batch of folder.read(sources ? { sources } : {})) {
      await put(stream, batch.map((rewrite) => (to === "csv" ? csvLine(rewrite) : `${JSON.stringify(rewrite)}\n`)).join(""));
      rows += batch.length;
    }
    return rows;
  };
  return typeof out === "string" ? await intoFile(out, write) : await write(out);
}

/** What was written in LaCLIP's form. */
export interface LinesReport {
  /** Files written, one for each source. */
  files: string[];
  lines: number;
  /** Per source, lines that hold the original because there is no usable rewrite. */
  originals: Record<string, number>;
}

/**
 * Writes LaCLIP's form: for each source a text file whose line i belongs to caption i of the captions file.
 * Where a rewrite is missing or was rejected the line holds the original, as LaCLIP's training would choose.
 * @throws DataError when the captions are not those that the rewrites were made for
 */
export async function exportLines(
  folder: RewritesFolder,
  { captions, out, sources = folder.sources }: { captions: CaptionsInput; out: string; sources?: readonly string[] },
): Promise<LinesReport> {
  const { fingerprint } = await captions.survey();
  folder.assertMadeFor(fingerprint, datasetName(captions.path));
  try {
    mkdirSync(out, { recursive: true });
  } catch (error) {
    throw explain(error, out);
  }
  const report: LinesReport = { files: [], lines: 0, originals: {} };
  for (const source of sources) {
    const texts = await folder.texts({ sources: [source] });
    const file = join(out, `${source}.txt`);
    let originals = 0;
    report.lines = await intoFile(file, async (stream) => {
      let lines = 0;
      for await (const batch of captions.rows()) {
        const written = batch.map(({ id, caption }) => {
          const text = texts.get(id)?.[0]?.text;
          if (text === undefined) originals++;
          return oneLine(text ?? caption);
        });
        await put(stream, written.map((line) => `${line}\n`).join(""));
        lines += batch.length;
      }
      return lines;
    });
    report.files.push(file);
    report.originals[source] = originals;
  }
  return report;
}

/** All that Python's `readlines()` or a text editor may take for the end of a line becomes a space. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ");
}

function csvLine({ id, source, text, flags, finish, tokens, seed, examples }: Rewrite): string {
  const field = (value: string): string => (/[",\r\n]/.test(value) || value === "" ? `"${value.replaceAll('"', '""')}"` : value);
  return `${[id, source, text, flags.join(" "), finish, String(tokens), String(seed), examples.join(" ")].map((value) => field(value)).join(",")}\n`;
}

function explain(error: unknown, path: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR" || code === "EEXIST" || code === "EISDIR") {
    return new DataError(`${path}: can't be written (${code}).`, {
      mend: "Name a file in a folder that there is, or a folder that is not a file.",
      cause: error,
    });
  }
  return explainWriteFailure(error, path);
}

async function put(stream: Writable, text: string): Promise<void> {
  if (stream.write(text)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: unknown): void => {
      stream.off("drain", settle).off("error", settle);
      if (error instanceof Error) reject(error);
      else resolve();
    };
    stream.once("drain", settle).once("error", settle);
  });
}

async function intoFile<T>(path: string, write: (stream: Writable) => Promise<T>): Promise<T> {
  const beside = `${path}.tmp-${process.pid}`;
  const stream = createWriteStream(beside);
  const done = finished(stream);
  // Watched from the start, or an early failure would count as unhandled while rows are still being read.
  done.catch(() => undefined);
  try {
    const result = await Promise.race([write(stream), done.then(() => Promise.reject(new DataError(`${path}: could not be written.`)))]);
    stream.end();
    await done;
    renameSync(beside, path);
    return result;
  } catch (error) {
    stream.destroy();
    if (existsSync(beside)) rmSync(beside);
    throw explain(error, path);
  }
}
