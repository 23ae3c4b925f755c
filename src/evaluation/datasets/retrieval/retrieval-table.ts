/**
 * A table of one's own with an image and a caption in each row: rows of the same image give it several captions. A column `split` tells which
 * rows are for what.
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { HeldImages, findColumn, noImageColumn, openCaptionTable, readCaptionRows } from "../../../data/index.ts";
import { readTable, tableColumns } from "../../../formats/index.ts";
import { DataError, sha256 } from "../../../support/index.ts";
import type { DatasetFiles } from "../dataset-files.ts";
import { type SplitName, splitOfRow } from "../dataset.ts";
import type { FoundImage, OpenRetrievalOptions } from "./retrieval-dataset.ts";

/** What a table holds. */
export interface RetrievalTable {
  /** Images in the order in which they first come. */
  entries: FoundImage[];
  /** What was found, in words. */
  note: string;
}

/**
 * Reads csv, tsv, jsonl or parquet; parquet may hold the images themselves. Paths are relative to the table.
 * @param split whose rows are read; a table without a column `split` is taken whole, as test
 * @throws DataError when a column is missing, a row has no image, there are no rows of the split, or images are not there (unless
 *   `incomplete`)
 */
export async function openRetrievalTable(
  file: string,
  { imageColumn, captionColumn, split = "test" }: OpenRetrievalOptions,
  files: DatasetFiles,
): Promise<RetrievalTable> {
  const table = await openCaptionTable({ file, imageColumn, captionColumn });
  if (table.imageColumn === undefined && table.bytesColumn === undefined) throw await noImageColumn(table);
  const splits = table.header ? await readSplits(table.file) : undefined;
  if (splits === undefined && split !== "test") {
    throw new DataError(`${table.file}: it has no column split, so that none of its captions are to ${split}.`, {
      mend: "Add the column, or leave --split out: then the table is taken whole.",
    });
  }
  const folder = dirname(table.file);
  const found = new Map<string, FoundImage & { captions: string[] }>();
  let held: HeldImages | undefined;
  const missing: string[] = [];
  let rows = 0;
  for await (const some of readCaptionRows(table, 0, true)) {
    for (const { row, image, bytes, caption } of some) {
      if (splits !== undefined && splits[row - 1] !== split) continue;
      rows++;
      if (image === "" && bytes === undefined) {
        throw new DataError(`${table.file}: row ${row} has no image.`, { mend: "Every row needs an image and a caption." });
      }
      // Images in the table may share a name; the same bytes are the same image.
      const key = bytes === undefined ? image : sha256(bytes);
      let entry = found.get(key);
      if (entry === undefined) {
        const name = image === "" ? `${table.file}, row ${row}` : resolve(folder, image);
        if (bytes !== undefined) {
          held ??= new HeldImages();
          entry = { item: { path: name, source: held.add(bytes, name, key) }, captions: [] };
        } else {
          if (!existsSync(name)) missing.push(image);
          entry = { item: { path: name }, captions: [] };
        }
        found.set(key, entry);
      }
      entry.captions.push(caption);
    }
  }
  if (missing.length > 0) {
    files.problem(
      `${missing.length} of ${found.size} images are missing: ${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ", ..." : ""}.`,
      "Paths are relative to the table: mend them.",
    );
  }
  const gone = new Set(missing);
  const entries = [...found].filter(([key]) => !gone.has(key)).map(([, entry]) => entry);
  if (splits !== undefined && rows === 0) {
    throw new DataError(`${table.file}: no row is of the split ${split}; there are some of ${[...new Set(splits)].join(" and ")}.`, {
      mend: "Choose one of these with --split.",
    });
  }
  const taken = splits === undefined ? "the table has no splits and is taken whole" : `those of the split ${split}`;
  return { entries, note: `${rows} rows, ${found.size} images; ${taken}.` };
}

/** The split of each row; undefined where there is no such column. */
async function readSplits(file: string): Promise<SplitName[] | undefined> {
  const column = findColumn(await tableColumns(file), ["split"]);
  if (column === undefined) return undefined;
  const splits: SplitName[] = [];
  for await (const batch of readTable(file, { columns: [column] })) {
    for (const value of batch.columns[column]!) splits.push(splitOfRow(String(value ?? "").trim(), `${file}: row ${splits.length + 1}`));
  }
  return splits;
}
