/**
 * How CIFAR-10 and CIFAR-100 are laid out (Krizhevsky's page of both): a binary version, and one of Python pickles.
 *
 * The pickles are read as data and never run; their pixels are taken from where they lie in the file.
 */
import { PickledCall, type PickledValue, readPickle } from "../../formats/index.ts";
import type { EvaluationItem } from "../../data/index.ts";
import { DataError } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";
import { pixelItem, readBatch, type RecordForm } from "./pixel-batches.ts";

/** 32 x 32 pixels, three planes, after so many bytes of labels. */
export function cifarRecords(labelBytes: number): RecordForm & { labelAt: number } {
  return { before: labelBytes, labelAt: labelBytes - 1, side: 32, order: "planes-by-rows" };
}

/** The class names of a file of pickled facts. @throws DataError */
export function pickledNames(files: DatasetFiles, file: string, key: string): string[] {
  const names = entry(dictionary(files, file), key);
  const texts = Array.isArray(names) ? names.map((name) => textOf(name)) : [];
  if (texts.length > 0 && texts.every((text) => text !== undefined)) return texts;
  throw unexpected(files, file, `a list of names under "${key}"`);
}

/** The images of a pickled batch. @throws DataError when it is missing, damaged, or of another form */
export function pickledImages(files: DatasetFiles, file: string, labelKey: string, classes: number): EvaluationItem[] {
  const bytes = readBatch(files, file);
  const batch = dictionary(files, file, bytes);
  const labels = entry(batch, labelKey);
  if (!Array.isArray(labels)) throw unexpected(files, file, `a list of labels under "${labelKey}"`);
  const pixels = arrayBytes(entry(batch, "data"));
  const form = cifarRecords(0);
  const size = 3 * form.side ** 2;
  if (pixels === undefined || pixels.byteLength !== labels.length * size) {
    throw unexpected(files, file, `an array of ${labels.length} x ${size} bytes under "data"`);
  }
  const start = pixels.byteOffset - bytes.byteOffset;
  return labels.map((value, i) => {
    const label = files.label(typeof value === "number" ? value : NaN, `${files.at(file)}, image ${i}`, classes, 0);
    return pixelItem(files, file, i, start + i * size, label, form);
  });
}

/** The bytes of a NumPy array by rows; undefined for any other value. */
function arrayBytes(value: PickledValue | undefined): Uint8Array | undefined {
  if (!(value instanceof PickledCall) || !/^numpy\.(_?core)\.multiarray\._reconstruct$/.test(value.name)) return undefined;
  if (!Array.isArray(value.state)) return undefined;
  const [, , type, byColumns, bytes] = value.state;
  const isBytes = type instanceof PickledCall && type.name === "numpy.dtype" && textOf(type.args[0]!) === "u1";
  return isBytes && byColumns === false && bytes instanceof Uint8Array ? bytes : undefined;
}

function dictionary(files: DatasetFiles, file: string, bytes = readBatch(files, file)): Map<PickledValue, PickledValue> {
  const value = readPickle(bytes, files.at(file));
  if (value instanceof Map) return value;
  throw unexpected(files, file, "a dictionary");
}

/** Keys are text, or in pickles of Python 2 bytes. */
function entry(values: ReadonlyMap<PickledValue, PickledValue>, key: string): PickledValue | undefined {
  for (const [name, value] of values) if (textOf(name) === key) return value;
  return undefined;
}

function textOf(value: PickledValue): string | undefined {
  if (typeof value === "string") return value;
  return value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : undefined;
}

function unexpected(files: DatasetFiles, file: string, what: string): DataError {
  return new DataError(`${files.at(file)}: expected ${what}.`, { mend: "Unpack the download again, or take the binary version." });
}
