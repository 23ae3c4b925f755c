/**
 * Images by a folder or by the column of a table, in order: what evaluation and `laclip embed` look at.
 */
import { readdirSync } from "node:fs";
import type { Dirent } from "node:fs";
import { dirname, extname, join, relative, resolve } from "node:path";
import { bytesColumns, missingColumn, readTable, tableColumns } from "../formats/index.ts";
import { DataError, explainReadFailure, log, sha256 } from "../support/index.ts";
import { findColumn, imageColumns, imageExtensions } from "./caption-table.ts";
import type { EvaluationItem } from "./evaluation-images.ts";
import { HeldImages } from "./held-images.ts";

/** Images below a folder, and what lies there beside them. */
export interface ImagesBelow {
  /** Paths relative to the folder, sorted. */
  images: string[];
  /** Files that do not end as images do, those aside whose names begin with a dot. */
  others: string[];
}

/** Finds images at any depth. @throws DataError when a folder can't be read */
export function imagesBelow(folder: string): ImagesBelow {
  const found: ImagesBelow = { images: [], others: [] };
  for (const entry of entriesBelow(folder)) {
    if (entry.isDirectory()) continue;
    const path = relative(folder, join(entry.parentPath, entry.name));
    if (imageExtensions.has(extname(entry.name).toLowerCase())) found.images.push(path);
    else if (!entry.name.startsWith(".")) found.others.push(path);
  }
  found.images.sort();
  found.others.sort();
  return found;
}

function entriesBelow(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    throw explainReadFailure(error, (error as NodeJS.ErrnoException).path ?? folder);
  }
}

/** Tells the person of files that were passed over by their names, if there are any: one may be an image all the same. */
export function reportOthers(folder: string, others: readonly string[]): void {
  if (others.length === 0) return;
  const files = others.length === 1 ? "1 file" : `${others.length} files`;
  log.warn(
    `${folder}: passed over ${files} whose names don't end as images' do (${[...imageExtensions].join(", ")}), for instance ${others[0]!}.`,
  );
}

/** Images with what they are called in the table or the folder. */
export interface ListedImages {
  names: string[];
  /** Labelled with their numbers. */
  items: EvaluationItem[];
}

/** Which column of a table has the images, and where they are. */
export interface ImageTableOptions {
  /** Default: the first of image, filepath, path, file, file_name, filename, image_path that there is. */
  imageColumn?: string | undefined;
  /** Folder that paths are relative to. Default: the table's folder. */
  images?: string | undefined;
}

/**
 * Lists the images of a table, a row each; a parquet file may hold them itself.
 * @throws DataError when the column is missing, a row has no image, or there is no row
 */
export async function openImageTable(file: string, { imageColumn, images = dirname(file) }: ImageTableOptions): Promise<ListedImages> {
  const known = await tableColumns(file);
  const column = imageColumn ?? findColumn(known, imageColumns);
  if (column === undefined) {
    const expected = `Expected one of: ${imageColumns.join(", ")}. Its columns are: ${known.join(", ") || "none"}.`;
    throw new DataError(`${file}: which column holds the image? ${expected}`, { mend: "Name it with --image-column." });
  }
  if (!known.includes(column)) throw missingColumn(file, column, known);
  const inside = (await bytesColumns(file)).get(column);
  const nameColumn = inside ? inside.path : column;
  const columns = [nameColumn, inside?.bytes].filter((name) => name !== undefined);
  const found: ListedImages = { names: [], items: [] };
  const held = inside && new HeldImages();
  for await (const batch of readTable(file, { columns, ...(inside ? {} : { flat: columns }) })) {
    for (let i = 0; i < batch.rows; i++) {
      const label = found.names.length;
      const where = `row ${label + 1}`;
      const value = nameColumn === undefined ? null : batch.columns[nameColumn]![i];
      const bytes = inside && batch.columns[inside.bytes]![i];
      // An image that should be in the table is looked for nowhere else: a file that is called so may be of something else.
      if (inside ? !(bytes instanceof Uint8Array) : value === null) {
        throw new DataError(`${file}: ${where} has nothing in column "${column}".`, { mend: "Fill it in, or take the row out." });
      }
      const name = value === null || value === undefined ? where : String(value);
      found.names.push(name);
      if (!(bytes instanceof Uint8Array)) found.items.push({ path: resolve(images, name), label });
      else found.items.push({ path: `${file}, ${name}`, source: held!.add(bytes, name, sha256(bytes)), label });
    }
  }
  if (found.names.length === 0) throw new DataError(`${file}: there is no row in it.`);
  return found;
}

/**
 * Lists all images below a folder.
 * @throws DataError when there is none
 */
export function openImageFolder(folder: string): ListedImages {
  const { images, others } = imagesBelow(folder);
  if (images.length === 0)
    throw new DataError(`${folder}: there is no image in it.`, { mend: `Images end in ${[...imageExtensions].join(", ")}.` });
  reportOthers(folder, others);
  return { names: images, items: images.map((name, label) => ({ path: resolve(folder, name), label })) };
}
