/**
 * Captions in webdataset tars: a sample's `.txt` member, or a key of its `.json` member. The id is webdataset's `__key__`.
 */
import {
  MemberTexts,
  describeHash,
  fileNameOf,
  hashedColumns,
  readTarSamples,
  shownAddress,
  textMembers,
  textUnder,
} from "../../data/index.ts";
import type { TarSample } from "../../data/index.ts";
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

function tarRow(tar: string, { key, members }: TarSample, { idColumn, captionColumn, secondColumn }: CaptionsOptions): CaptionRow {
  const texts = new MemberTexts(shownAddress(tar), key, members);
  return {
    id: texts.id(idColumn),
    caption: texts.caption(captionColumn),
    ...(secondColumn === undefined ? {} : { second: textUnder(texts.json, secondColumn) }),
    where: `${fileNameOf(tar)}, sample ${key}`,
  };
}
