/**
 * Captions in webdataset tars: a sample's `.txt` member, or a key of its `.json` member. The id is webdataset's `__key__`.
 */
import {
  MemberTexts,
  describeHash,
  fileNameOf,
  hashedColumns,
  imageSuffixes,
  isPlainTar,
  noteSamples,
  readTarSamples,
  shownAddress,
  textMembers,
  textUnder,
} from "../../data/index.ts";
import type { HeldImages, TarSample } from "../../data/index.ts";
import type { CaptionRow, CaptionsOptions } from "./captions-input.ts";

/** Samples handed on at a time. */
const batchSize = 1000;

/** Where the ids of samples in tars come from, in words. */
export function tarIdsFrom({ idColumn }: CaptionsOptions): string {
  const hashed = hashedColumns(idColumn);
  if (hashed) return `${describeHash(hashed)} of the .json`;
  return idColumn === undefined ? "the key of each sample" : `"${idColumn}" of the .json`;
}

/**
 * The captions in a tar, a row for each sample. A sample without a caption has the caption "".
 * @param tar a path or an address
 * @param options columns are keys of the `.json` member; without any, the caption is the `.txt` member, else `caption`, `title` or
 *   `text` of the `.json`
 * @throws DataError when the tar is damaged, or a text is no UTF-8 or no JSON
 */
export async function* tarRows(tar: string, options: CaptionsOptions): AsyncGenerator<CaptionRow[]> {
  let batch: CaptionRow[] = [];
  for await (const sample of readTarSamples(tar, textMembers)) {
    batch.push(tarRow(tar, sample, options));
    if (batch.length < batchSize) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/**
 * The same with the images: of a plain tar where they lie in it, of any other in `held`. They are the samples' first.
 * @param wanted asked for each sample in turn, whether its image is needed
 */
export async function* tarRowsWithImages(
  tar: string,
  options: CaptionsOptions,
  { held, wanted }: { held: HeldImages; wanted: () => boolean },
): AsyncGenerator<CaptionRow[]> {
  const samples = isPlainTar(tar) ? noteSamples(tar) : readTarSamples(tar, new Set([...textMembers, ...imageSuffixes]));
  let batch: CaptionRow[] = [];
  for await (const sample of samples) {
    const members = "texts" in sample ? sample.texts : sample.members;
    const row = tarRow(tar, { key: sample.key, members }, options);
    let stored: CaptionRow["stored"] = null;
    if (wanted()) {
      const bytes = [...members].find(([suffix]) => imageSuffixes.has(suffix))?.[1];
      stored = "image" in sample ? (sample.image ?? null) : bytes ? held.add(bytes, row.where!) : null;
    }
    batch.push({ ...row, stored });
    if (batch.length < batchSize) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

function tarRow(tar: string, { key, members }: TarSample, { idColumn, captionColumn, secondColumn }: CaptionsOptions): CaptionRow {
  const texts = new MemberTexts(shownAddress(tar), key, members);
  return {
    id: texts.id(idColumn),
    caption: texts.caption(captionColumn),
    ...(secondColumn === undefined ? {} : { second: textUnder(texts.json, secondColumn) }),
    where: `${fileNameOf(tar)}, sample ${key}`,
  };
}
