/**
 * Rewrites in the forms that other programs read: csv and jsonl rows with ids, parquet with a row for each sample, and LaCLIP's text
 * files, one line a caption. Webdatasets are in export-webdataset.ts.
 */
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";
import { captionKey } from "../../data/index.ts";
import type { Rewrite, RewritesFolder } from "../../data/index.ts";
import { TextFile, csvLine, tableColumns, writeText } from "../../formats/index.ts";
import { beginningOf, makeFolder, refuseToReplace } from "../../support/index.ts";
import { countSources, warnOfRepeats, withAlignedRewrites } from "./aligned-rewrites.ts";
import type { AlignOptions } from "./aligned-rewrites.ts";

/** The first line of the csv. */
const heading = "id,source,text,flags,finish,tokens,seed,examples,weight\n";

/** Formats in which rewrites are written row by row. */
export type RowsFormat = "csv" | "jsonl";

/**
 * Writes all rewrites as rows: id, source, text, flags, finish, tokens, seed, examples, weight. In csv, lists are joined by spaces.
 * @param out a file, written beside its place and renamed, or a stream
 * @returns number of rows
 * @throws UsageError when `out` lies in the folder, or is a file and no earlier export
 */
export async function exportRows(
  folder: RewritesFolder,
  { to, out, sources }: { to: RowsFormat; out: string | Writable; sources?: readonly string[] },
): Promise<number> {
  const write = async (put: (text: string) => Promise<void>): Promise<number> => {
    let rows = 0;
    const counts = new Map<string, number>();
    // Put before the first rows: of what can't be read, a heading would look like an export of nothing.
    let first = to === "csv" ? heading : "";
    for await (const batch of folder.read(sources ? { sources } : {})) {
      await put(
        first +
          batch
            .map((rewrite) =>
              to === "csv" ? csvLine(fieldsOf(rewrite)) : `${JSON.stringify({ ...rewrite, weight: rewrite.weight ?? 1 })}\n`,
            )
            .join(""),
      );
      first = "";
      rows += batch.length;
      countSources(batch, counts);
    }
    await put(first);
    warnOfRepeats(folder, counts);
    return rows;
  };
  if (typeof out !== "string") return await write(async (text) => await writeText(out, text));
  const isEarlier = (path: string): boolean => isRows(beginningOf(path), to);
  await refuseToReplace(out, { folders: [folder.path], isEarlier });
  return await intoFiles([out], async ([file]) => await write(async (text) => await file!.write(text)));
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
 * @throws DataError when the captions are not those that the rewrites were made for; UsageError when a file would take the place of one
 *   that is read, or lie in the rewrites folder
 */
export async function exportLines(folder: RewritesFolder, { out, ...options }: AlignOptions & { out: string }): Promise<LinesReport> {
  const pathOf = (source: string): string => join(out, `${source}.txt`);
  const { sources: chosen = folder.sources, captions } = options;
  // Lines of text don't tell whose they are: of other files in the way, none can be known for an earlier export.
  for (const source of chosen) await refuseToReplace(pathOf(source), { inputs: captions.files, folders: [folder.path] });
  makeFolder(out);
  return await withAlignedRewrites(folder, out, options, async ({ sources, rows }) => {
    const paths = sources.map(pathOf);
    const originals = sources.map(() => 0);
    const lines = await intoFiles(paths, async (files) => {
      let count = 0;
      for await (const batch of rows()) {
        for (const [i, file] of files.entries()) {
          const written = batch.map(({ caption, texts }) => {
            if (texts[i] === undefined) originals[i]! += 1;
            return `${oneLine(texts[i] ?? caption)}\n`;
          });
          await file.write(written.join(""));
        }
        count += batch.length;
      }
      return count;
    });
    return { files: paths, lines, originals: Object.fromEntries(sources.map((source, i) => [source, originals[i]!])) };
  });
}

/** What was written as parquet. */
export interface ParquetReport {
  file: string;
  rows: number;
  columns: string[];
}

/**
 * Writes one row for each row of the captions file, in its order: `id`, `caption`, and a column `caption_SOURCE` for each source,
 * null where there is no usable rewrite. The form with a row for each rewrite is what the folder's own parts have.
 * @throws DataError when the captions are not those that the rewrites were made for; UsageError when `out` is read, lies in the rewrites
 *   folder, or is a file and no earlier export
 */
export async function exportParquet(folder: RewritesFolder, { out, ...options }: AlignOptions & { out: string }): Promise<ParquetReport> {
  await refuseToReplace(out, { inputs: options.captions.files, folders: [folder.path], isEarlier: isParquetExport });
  return await withAlignedRewrites(folder, dirname(out), options, async ({ sources, writeParquet }) => {
    const rows = await writeParquet(out, captionKey);
    return { file: out, rows, columns: ["id", "caption", ...sources.map((source) => captionKey(source))] };
  });
}

/** Whether a file that begins like this is an export of rows; those of other versions may have fewer columns. */
function isRows(beginning: string, to: RowsFormat): boolean {
  const [line = ""] = beginning.split("\n", 1);
  if (to === "csv") return line.startsWith(heading.slice(0, heading.indexOf("finish")));
  return /^\{"id":.*,"source":".*,"text":".*,"flags":\[/.test(line);
}

async function isParquetExport(path: string): Promise<boolean> {
  try {
    const [id, caption, ...texts] = await tableColumns(path, { format: "parquet" });
    return id === "id" && caption === "caption" && texts.length > 0 && texts.every((name) => name.startsWith("caption_"));
  } catch {
    // What can't be read as parquet is something else.
    return false;
  }
}

/** All that Python's `readlines()` or a text editor may take for the end of a line becomes a space. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ");
}

function fieldsOf({ id, source, text, flags, finish, tokens, seed, examples, weight = 1 }: Rewrite): string[] {
  return [id, source, text, flags.join(" "), finish, String(tokens), String(seed), examples.join(" "), String(weight)];
}

/** Writes files that are there all or none. */
async function intoFiles<T>(paths: readonly string[], write: (files: readonly TextFile[]) => Promise<T>): Promise<T> {
  const files = paths.map((path) => new TextFile(path));
  try {
    const result = await write(files);
    for (const file of files) await file.finish();
    return result;
  } catch (error) {
    for (const file of files) await file.abandon();
    throw error;
  }
}
