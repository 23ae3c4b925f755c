/**
 * Files of small images without headers: records of a few label bytes and the pixels (CIFAR's binary version), or pixels alone (STL-10).
 *
 * Images stay where they are: an item says where in the file its pixels lie.
 */
import { readFileSync, statSync } from "node:fs";
import type { EvaluationItem, RawPixels } from "../../data/index.ts";
import { DataError, explainReadFailure } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";

/** How the records of a file look. */
export interface RecordForm {
  /** Bytes before the pixels of a record, labels or nothing. */
  before: number;
  /** Which of them is the label; of files without labels, undefined. */
  labelAt?: number;
  side: number;
  order: RawPixels["order"];
}

/** The bytes of a file of the set. @throws DataError when it is not there */
export function readBatch(files: DatasetFiles, name: string): Uint8Array {
  try {
    return readFileSync(files.at(name));
  } catch (error) {
    throw explainReadFailure(error, files.at(name), "Unpack the download again.");
  }
}

/** An image of a file. `offset` is where its pixels begin. */
export function pixelItem(
  files: DatasetFiles,
  file: string,
  index: number,
  offset: number,
  label: number,
  form: RecordForm,
): EvaluationItem {
  const path = `${files.at(file)}#${index}`;
  const { side, order } = form;
  return { path, label, source: { file: files.at(file), name: path, offset, size: 3 * side * side, width: side, height: side, order } };
}

/**
 * The images of a file whose records bring their labels, from 0.
 * @throws DataError when the file is missing or a label is none of the classes; when it ends within a record, unless incomplete
 */
export function labelledRecords(
  files: DatasetFiles,
  file: string,
  classes: number,
  form: RecordForm & { labelAt: number },
): EvaluationItem[] {
  const bytes = readBatch(files, file);
  const size = form.before + 3 * form.side ** 2;
  return Array.from({ length: wholeRecords(files, file, bytes.byteLength, size) }, (_, i) => {
    const label = files.label(bytes[i * size + form.labelAt]!, `${files.at(file)}, image ${i}`, classes, 0);
    return pixelItem(files, file, i, i * size + form.before, label, form);
  });
}

/**
 * The images of a file without labels, which another file has: a byte each, from 1.
 * @throws DataError when one is missing, they are not of one length, or a label is none of the classes
 */
export function recordsWithLabels(
  files: DatasetFiles,
  file: string,
  labelFile: string,
  classes: number,
  form: RecordForm,
): EvaluationItem[] {
  const labels = readBatch(files, labelFile);
  if (!files.has(file)) throw new DataError(`${files.at(file)}: no such file.`, { mend: "Unpack the download again." });
  const size = 3 * form.side ** 2;
  const count = wholeRecords(files, file, statSync(files.at(file)).size, size);
  if (count !== labels.byteLength) {
    files.problem(`${count} images in ${file}, yet ${labels.byteLength} labels in ${labelFile}.`, "Unpack the download again.");
  }
  return Array.from(labels.subarray(0, count), (value, i) => {
    const label = files.label(value, `${files.at(labelFile)}, image ${i}`, classes, 1);
    return pixelItem(files, file, i, i * size, label, form);
  });
}

function wholeRecords(files: DatasetFiles, file: string, bytes: number, size: number): number {
  const count = Math.floor(bytes / size);
  if (count * size !== bytes || count === 0) {
    files.problem(`${file} has ${bytes} bytes, expected a multiple of ${size}: it is cut short.`, "Unpack the download again.");
  }
  return count;
}
