/** A table of one's own with an image and a caption in each row: rows of the same image give it several captions. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { HeldImages, noImageColumn, openCaptionTable, readCaptionRows } from "../../../data/index.ts";
import { DataError, sha256 } from "../../../support/index.ts";
import type { DatasetFiles } from "../dataset-files.ts";
import type { FoundImage, OpenRetrievalOptions } from "./retrieval-dataset.ts";

/**
 * Reads csv, tsv, jsonl or parquet; parquet may hold the images themselves. Paths are relative to the table.
 * @returns the images in the order in which they first come, and what was found, in words
 * @throws DataError when a column is missing, a row has no image, or images are not there (unless `incomplete`)
 */
export async function openRetrievalTable(
  file: string,
  { imageColumn, captionColumn }: OpenRetrievalOptions,
  files: DatasetFiles,
): Promise<{ entries: FoundImage[]; note: string }> {
  const table = await openCaptionTable({ file, imageColumn, captionColumn });
  if (table.imageColumn === undefined && table.bytesColumn === undefined) throw await noImageColumn(table);
  const folder = dirname(table.file);
  const found = new Map<string, FoundImage & { captions: string[] }>();
  let held: HeldImages | undefined;
  const missing: string[] = [];
  let rows = 0;
  for await (const some of readCaptionRows(table, 0, true)) {
    for (const { row, image, bytes, caption } of some) {
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
  return { entries, note: `${rows} rows, ${found.size} images; the table has no splits and is taken whole.` };
}
