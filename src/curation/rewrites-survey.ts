/**
 * How a rewrites folder fits a data set: which samples have a rewrite, which rewrites belong to none. Nothing is refused here.
 */
import { isUsable, openRewritesFolder } from "../data/index.ts";
import type { Pairs } from "../data/index.ts";
import type { BesideText } from "./inspected-data.ts";

/** A rewrites folder against a data set. */
export interface RewritesSurvey {
  folder: string;
  /** Usable rewrites of samples that are there, by source. */
  texts: Record<string, number>;
  /** Samples with at least one of them, and without any; the first ids of those. */
  matched: number;
  unmatched: number;
  firstUnmatched: string[];
  /** Rewrites of ids that the data set lacks, and the first of these. */
  foreign: number;
  firstForeign: string[];
  /** Rewrites that were rejected by a check, or are empty. */
  unusable: number;
  /** Whether the folder was made for exactly these captions. */
  sameCaptions: boolean;
}

/**
 * Holds a rewrites folder against a data set.
 * @param shown rows whose rewrites are wanted
 * @throws DataError when the folder is damaged
 */
export async function surveyRewrites(
  { samples, fingerprint, rowOf }: Pairs,
  path: string,
  shown: ReadonlySet<number>,
): Promise<{ survey: RewritesSurvey; texts: Map<number, BesideText[]> }> {
  const folder = await openRewritesFolder(path);
  const has = new Uint8Array(samples.length);
  const texts = new Map<number, BesideText[]>();
  const survey: RewritesSurvey = {
    folder: path,
    texts: Object.fromEntries(folder.sources.map((source) => [source, 0])),
    matched: 0,
    unmatched: 0,
    firstUnmatched: [],
    foreign: 0,
    firstForeign: [],
    unusable: 0,
    sameCaptions: folder.manifest.dataset.hash === fingerprint.hash && folder.manifest.dataset.count === fingerprint.count,
  };
  for await (const batch of folder.read()) {
    for (const rewrite of batch) {
      const row = rowOf.get(rewrite.id);
      if (row === undefined) {
        survey.foreign++;
        if (survey.firstForeign.length < 5 && !survey.firstForeign.includes(rewrite.id)) survey.firstForeign.push(rewrite.id);
      } else if (!isUsable(rewrite) || rewrite.text.trim() === "") survey.unusable++;
      else {
        has[row] = 1;
        survey.texts[rewrite.source]! += 1;
        if (shown.has(row)) texts.set(row, [...(texts.get(row) ?? []), { source: rewrite.source, text: rewrite.text }]);
      }
    }
  }
  for (let row = 0; row < has.length; row++) {
    if (has[row]) survey.matched++;
    else if (survey.firstUnmatched.length < 5) survey.firstUnmatched.push(samples.id(row));
  }
  survey.unmatched = samples.length - survey.matched;
  const order = folder.sources;
  for (const own of texts.values()) own.sort((a, b) => order.indexOf(a.source) - order.indexOf(b.source));
  return { survey, texts };
}
