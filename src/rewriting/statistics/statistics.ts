/**
 * What is in a rewrites folder, in numbers: how many of each source, what was flagged, how long, how varied, how faithful.
 *
 * Everything is counted once over the whole folder, rewrite by rewrite. What has to look at texts (words, tokens, other rewrites of
 * the same caption) does so on a sample of captions, so that memory and time stay bounded for millions of them; a folder with fewer
 * captions than the sample takes is looked at whole.
 */
import { isUsable } from "../../data/index.ts";
import type { Rewrite, RewriteSource, RewritesFolder } from "../../data/index.ts";
import { Progress } from "../../support/index.ts";
import { contextLength } from "../../text/index.ts";
import { CaptionSample, Few, placeOf } from "../checks/caption-sample.ts";
import type { CaptionRow, CaptionsInput } from "../captions/captions-input.ts";
import { CheckSubject, clipTokens } from "../checks/check-subject.ts";
import { isMeasuring, rewriteChecks } from "../checks/check-table.ts";
import { complaintsOn, repeatsOf } from "./complaints.ts";
import { normalise, wordsOf } from "../checks/content-words.ts";
import { bleu, distinct, selfBleu } from "./diversity.ts";

/** How texts are distributed over lengths in CLIP tokens, start and end included. */
export interface LengthStatistics {
  /** Texts that were looked at. */
  texts: number;
  mean: number;
  /** Share of texts that are longer than CLIP's 77 tokens, and so cut off in training. */
  truncated: number;
  /** Texts of each length, from 0; the last counts all that are as long or longer. */
  histogram: number[];
}

/** Differences of cosines: image and rewrite, less image and caption. */
export interface FitStatistics {
  rewrites: number;
  mean: number;
  /** Share of rewrites that fit less well than their caption. */
  worse: number;
  /** Rewrites in each bin of `binWidth` from `start` on; the first and the last also count what lies beyond. */
  histogram: number[];
  start: number;
  binWidth: number;
}

/** What one source has written. */
export interface SourceStatistics {
  readonly source: string;
  readonly made: RewriteSource;
  rewrites: number;
  usable: number;
  /** Captions of the data set (or of the folder's part of it) without a usable rewrite from this source. */
  missing: number;
  /** Mean tokens that the model generated, 0 where unknown. */
  meanTokens: number;
  /** How often each flag was raised, over all rewrites. */
  flags: Record<string, number>;
  /** Mean chance in training relative to the caption's, of the usable ones; 1 unless they were weighed. */
  meanWeight: number;
  /** How much better rewrites fit their image than the caption does, over all that were held against it; where any was. */
  fit?: FitStatistics;
  /** Sentences on what too many rewrites have in common. */
  complaints: string[];
  /** Of the sample's usable rewrites, as is all that follows. */
  sampled: number;
  meanWords: number;
  length: LengthStatistics;
  /** Rewrites that say the same, in the same words, as one of the same caption by a source named before. */
  duplicates: number;
  /** Different words, and pairs of words, among all of `diversityTexts` texts. Comparable only for the same number of texts. */
  distinct1: number;
  distinct2: number;
  /** Mean BLEU of each of these texts against all others. */
  selfBleu?: number | undefined;
  diversityTexts: number;
  /** Mean BLEU of a rewrite against the other rewrites of its caption: high where sources say the same. */
  siblingBleu?: number | undefined;
  /** Mean BLEU of a rewrite against its caption: 1 for copies. Only with captions. */
  captionBleu?: number | undefined;
  /** Means of what the checks measure against the caption, by the name of the check. Only with captions. */
  measures?: Record<string, { mean: number; texts: number }>;
}

/** A rewrite to be looked at. */
export interface StatisticsExample extends Pick<Rewrite, "id" | "source" | "text" | "flags"> {
  /** The flag that it is an example of, or "fits-least" for what fits its image least; undefined for one without flags. */
  readonly flag?: string;
  /** The caption, where captions were given. */
  caption?: string;
}

/** What a whole folder holds. */
export interface RewritesStatistics {
  readonly folder: string;
  readonly dataset: { readonly name: string; readonly count: number };
  /** Number of captions that this folder is for: all, or those of its shard. */
  readonly captions: number;
  readonly rewrites: number;
  /** Captions that were looked at word by word, and whether these are all that have rewrites. */
  readonly sample: { readonly captions: number; readonly whole: boolean };
  readonly sources: readonly SourceStatistics[];
  /** Lengths of the sample's captions. Only with captions. */
  readonly captionLength?: LengthStatistics;
  /** A few of each source and flag. */
  readonly examples: readonly StatisticsExample[];
}

/** What is looked at, and how closely. */
export interface StatisticsOptions {
  /** The captions that were rewritten, for examples beside their caption and for what is measured against it. */
  captions?: CaptionsInput;
  /** Examples of each source and flag. Default 3. */
  examples?: number;
  /** Captions that are looked at word by word. Default 20,000. */
  sample?: number;
  /** Another seed gives another sample and other examples. Default 0. */
  seed?: number;
}

/** Texts in the measures of diversity: enough to be stable, few enough to be comparable between most folders. */
const diversityTexts = 1000;
/** Lengths that the histogram tells apart; longer ones count as this. */
const longestShown = 96;
/** Range and steps in which fits are counted. */
const [leastFit, mostFit, fitStep] = [-1, 1, 0.01];

/**
 * Reads a folder once, and its captions twice where they are given: once to know them.
 * @throws DataError when a part is damaged, or the captions are not those that were rewritten
 */
export async function rewritesStatistics(folder: RewritesFolder, options: StatisticsOptions = {}): Promise<RewritesStatistics> {
  const { captions, examples = 3, sample: size = 20_000, seed = 0 } = options;
  if (captions) folder.assertMadeFor((await captions.survey()).fingerprint, captions.path);
  const { dataset, sources, shard } = folder.manifest;
  const planned = shard ? shard.to - shard.from : dataset.count;
  const table = new Map(Object.entries(sources).map(([source, made]) => [source, emptyStatistics(source, made)]));
  const sample = new CaptionSample<Rewrite>(size, seed);
  const shown = new Map<string, Few<StatisticsExample>>();
  const show = (example: StatisticsExample): void => {
    const key = `${example.source}\n${example.flag ?? ""}`;
    let few = shown.get(key);
    if (!few) shown.set(key, (few = new Few(examples, ({ id }) => placeOf(id, seed))));
    few.add(example);
  };
  const worst = new Map(
    [...table.keys()].map((source) => [source, new Few<StatisticsExample & { fit: number }>(examples, ({ fit }) => fit)]),
  );
  let rewrites = 0;
  // A guess, since reading is counting; the bar is for folders that take minutes.
  const progress = new Progress({ label: "read", total: planned * table.size + 1, unit: "rewrites" });
  for await (const batch of folder.read()) {
    progress.advance(batch.length);
    for (const rewrite of batch) {
      rewrites++;
      const { id, source, text, flags, tokens, weight = 1 } = rewrite;
      const entry = table.get(source)!;
      entry.rewrites++;
      entry.meanTokens += tokens;
      for (const flag of flags) {
        entry.flags[flag] = (entry.flags[flag] ?? 0) + 1;
        show({ id, source, text, flags, flag });
      }
      if (flags.length === 0) show({ id, source, text, flags });
      if (rewrite.fit !== undefined) {
        addFit(entry, rewrite.fit);
        worst.get(source)!.add({ id, source, text, flags, flag: "fits-least", fit: rewrite.fit });
      }
      if (!isUsable(rewrite)) continue;
      entry.usable++;
      entry.meanWeight += weight;
      sample.add(id, rewrite);
    }
  }
  progress.finish();
  const chosen: StatisticsExample[] = [...shown.values(), ...worst.values()].flatMap((few) => few.values);
  const known = captions && (await captionsOf(captions, [...sample.captions().map(([id]) => id), ...chosen.map(({ id }) => id)]));
  for (const example of chosen) {
    const caption = known?.get(example.id)?.caption;
    if (caption !== undefined) example.caption = caption;
  }
  for (const entry of table.values()) {
    if (entry.fit) {
      entry.fit.mean /= entry.fit.rewrites;
      entry.fit.worse /= entry.fit.rewrites;
    }
    entry.meanTokens /= Math.max(1, entry.rewrites);
    entry.meanWeight = entry.usable === 0 ? 1 : entry.meanWeight / entry.usable;
    entry.missing = Math.max(0, planned - entry.usable);
    const repeats = repeatsOf(folder.manifest, entry.source, entry.rewrites);
    entry.complaints = [
      ...(repeats === undefined ? [] : [repeats]),
      ...complaintsOn({ ...entry, rejected: entry.rewrites - entry.usable }),
    ];
  }
  measureSample(sample.captions(), table, known);
  return {
    folder: folder.path,
    dataset: { name: dataset.name, count: dataset.count },
    captions: planned,
    rewrites,
    sample: { captions: sample.captions().length, whole: sample.isWhole },
    sources: [...table.values()],
    ...(known ? { captionLength: lengthsOf(sample.captions().flatMap(([id]) => known.get(id)?.caption ?? [])) } : {}),
    examples: chosen,
  };
}

function emptyStatistics(source: string, made: RewriteSource): SourceStatistics {
  return {
    source,
    made,
    rewrites: 0,
    usable: 0,
    missing: 0,
    meanTokens: 0,
    flags: {},
    meanWeight: 0,
    complaints: [],
    sampled: 0,
    meanWords: 0,
    length: lengthsOf([]),
    duplicates: 0,
    distinct1: 0,
    distinct2: 0,
    diversityTexts: 0,
  };
}

/** Sums, until all are there. */
function addFit(entry: SourceStatistics, fit: number): void {
  const bins = Math.round((mostFit - leastFit) / fitStep);
  entry.fit ??= { rewrites: 0, mean: 0, worse: 0, histogram: Array.from({ length: bins }, () => 0), start: leastFit, binWidth: fitStep };
  entry.fit.rewrites++;
  entry.fit.mean += fit;
  if (fit < 0) entry.fit.worse++;
  entry.fit.histogram[Math.min(bins - 1, Math.max(0, Math.floor((fit - leastFit) / fitStep)))]! += 1;
}

/** The captions of these ids. */
async function captionsOf(captions: CaptionsInput, ids: readonly string[]): Promise<Map<string, CaptionRow>> {
  const wanted = new Set(ids);
  const found = new Map<string, CaptionRow>();
  for await (const batch of captions.rows()) for (const row of batch) if (wanted.has(row.id) && !found.has(row.id)) found.set(row.id, row);
  return found;
}

/** What has to look at texts. */
function measureSample(
  sample: readonly [id: string, rewrites: readonly Rewrite[]][],
  table: ReadonlyMap<string, SourceStatistics>,
  captions: ReadonlyMap<string, CaptionRow> | undefined,
): void {
  const order = new Map([...table.keys()].map((source, i) => [source, i]));
  const texts = new Map([...table.keys()].map((source) => [source, [] as string[]]));
  const [siblings, copies] = [new Means(), new Means()];
  const measures = new Map([...table.keys()].map((source) => [source, new Means()]));
  for (const [id, unordered] of sample) {
    const rewrites = unordered.toSorted((a, b) => order.get(a.source)! - order.get(b.source)!);
    const { caption, second } = captions?.get(id) ?? {};
    const captionWords = caption === undefined ? undefined : wordsOf(caption);
    const words = rewrites.map(({ text }) => wordsOf(text));
    const said = new Set<string>();
    for (const [i, { source, text, finish }] of rewrites.entries()) {
      const entry = table.get(source)!;
      texts.get(source)!.push(text);
      const plain = normalise(text);
      if (said.has(plain)) entry.duplicates++;
      said.add(plain);
      siblings.add(
        source,
        bleu(
          words[i]!,
          words.filter((_, k) => k !== i),
        ),
      );
      if (caption === undefined) continue;
      copies.add(source, bleu(words[i]!, [captionWords!]));
      const subject = new CheckSubject(text, { caption, second, knownOutputs: new Set(), finish, shortened: false });
      for (const check of rewriteChecks)
        if (isMeasuring(check) && check.againstCaption) measures.get(source)!.add(check.name, check.measure(subject));
    }
  }
  for (const [source, own] of texts) {
    const entry = table.get(source)!;
    const some = own.slice(0, diversityTexts).map(wordsOf);
    entry.sampled = own.length;
    entry.meanWords = own.reduce((sum, text) => sum + text.split(/\s+/).length, 0) / Math.max(1, own.length);
    entry.length = lengthsOf(own);
    entry.distinct1 = distinct(some, 1);
    entry.distinct2 = distinct(some, 2);
    entry.selfBleu = selfBleu(some);
    entry.diversityTexts = some.length;
    entry.siblingBleu = siblings.of(source)?.mean;
    if (!captions) continue;
    entry.captionBleu = copies.of(source)?.mean;
    entry.measures = measures.get(source)!.all();
  }
}

function lengthsOf(texts: readonly string[]): LengthStatistics {
  const histogram = Array.from({ length: longestShown + 1 }, () => 0);
  let [sum, truncated] = [0, 0];
  for (const text of texts) {
    const tokens = clipTokens(text);
    sum += tokens;
    if (tokens > contextLength) truncated++;
    histogram[Math.min(tokens, longestShown)]! += 1;
  }
  const count = Math.max(1, texts.length);
  return { texts: texts.length, mean: sum / count, truncated: truncated / count, histogram };
}

/** Means of numbers that come in any order, under several names. */
class Means {
  readonly #sums = new Map<string, { sum: number; texts: number }>();

  add(name: string, value: number | undefined): void {
    if (value === undefined) return;
    const entry = this.#sums.get(name);
    if (entry) {
      entry.sum += value;
      entry.texts++;
    } else this.#sums.set(name, { sum: value, texts: 1 });
  }

  of(name: string): { mean: number; texts: number } | undefined {
    const entry = this.#sums.get(name);
    return entry && { mean: entry.sum / entry.texts, texts: entry.texts };
  }

  all(): Record<string, { mean: number; texts: number }> {
    return Object.fromEntries(Array.from(this.#sums.keys(), (name) => [name, this.of(name)!]));
  }
}
