/**
 * The data of a run: a table with image files, or tars; with the rewrites that the recipe asks for.
 *
 * Tars on this machine become a table too, as long as they hold no more samples than fit one: then every sample has the same chance to
 * stand beside every other. More than that, and tars elsewhere, are read from front to back.
 */
import { existsSync, statSync } from "node:fs";
import {
  type CaptionsFingerprint,
  type JoinedPairs,
  type LoaderSamples,
  type Pairs,
  type ShardedSamples,
  countSamples,
  defaultIdColumn,
  isAddress,
  joinRewrites,
  listShards,
  lookUpRewrites,
  namesTars,
  openPairs,
  openTarPairs,
  probeShards,
  shownShards,
} from "../data/index.ts";
import { DataError, UsageError, log, readFolder, sha256, shortPercent } from "../support/index.ts";
import type { Recipe } from "./recipe.ts";

/** Where a run's captions, images and rewrites lie. */
export interface RunData {
  /** Table of captions, see `openPairs`; or tars, see `listShards`. */
  file: string;
  /** Folder that image paths are relative to. Default: the table's folder. */
  images?: string | undefined;
  imageColumn?: string | undefined;
  captionColumn?: string | undefined;
  idColumn?: string | undefined;
  /** Tars: keys of each `.json` that hold its texts, the caption's first. Default: the caption and each `caption_NAME`. */
  textKeys?: readonly string[] | undefined;
  /** Rewrites folder; needed when the recipe chooses among rewrites and the data bring none. */
  rewrites?: string | undefined;
  /** Share of rows and of images that may be unusable, 0..1. Default 0.01. */
  maximumSkipped?: number | undefined;
  /** Share of samples that must have a rewrite, 0..1. Default 0.99. */
  minimumMatched?: number | undefined;
  /** See `joinRewrites`. */
  otherCaptions?: boolean | undefined;
  /** Gives up looking through tars, with InterruptedError. */
  signal?: AbortSignal | undefined;
}

/** Data that are ready to be trained on. */
export interface OpenedData {
  samples: LoaderSamples;
  /** Samples of an epoch. */
  count: number;
  /** What the run folder records: enough to notice other data, nothing that differs between machines. */
  described: object;
  /** Gives back what lies on disk, once no loader reads from it any more. */
  close: () => void;
}

/** Samples up to which tars on this machine are opened as a table: their places take a few dozen bytes each. */
const mostInTable = 5_000_000;

/** True for tars: by their names, for a text file that lists some, or for a folder that holds some and no table. */
function holdsTars(path: string): boolean {
  if (namesTars(path) || /\.txt$/i.test(path)) return true;
  if (isAddress(path) || !statSync(path, { throwIfNoEntry: false })?.isDirectory()) return false;
  const names = readFolder(path);
  return names.some((name) => namesTars(name)) && !names.some((name) => /^captions\.(csv|tsv|jsonl|parquet)$/.test(name));
}

/**
 * Opens the data of a run.
 * @param workFolder for what a large table is kept in; nothing is seen there
 * @throws UsageError when recipe and data do not fit together; see `openPairs`, `openTarPairs`, `joinRewrites`, `listShards`
 */
export async function openData(recipe: Recipe, data: RunData, workFolder: string): Promise<OpenedData> {
  const { captions } = recipe;
  const tars = holdsTars(data.file);
  // Before anything is said of what it would lack.
  if (!tars && !isAddress(data.file) && !existsSync(data.file)) throw new DataError(`${data.file}: no such file or folder.`);
  if (!tars && data.textKeys !== undefined) {
    throw new UsageError(`${data.file}: text keys are for tars; a table has columns.`, { mend: "Name the column with --caption-column." });
  }
  if (!tars && captions.choose !== "original" && data.rewrites === undefined) {
    throw new UsageError(`This recipe chooses among rewrites (captions.choose=${captions.choose}), but no rewrites folder was given.`, {
      mend: "Make one with `laclip rewrite` and give it with --rewrites, or train CLIP with --set captions.choose=original.",
    });
  }
  if (!readsRewrites(recipe) && data.rewrites !== undefined) {
    log.warn(`${data.rewrites} is not used: this recipe trains on the original captions alone (captions.choose=original).`);
  }
  // What else is said of reading tars changes nothing of a table, whose samples come at random in any case.
  if (!tars && recipe.data?.samplesPerEpoch !== undefined) {
    log.warn(`${data.file}: data.samplesPerEpoch is not used: it is for tars, and an epoch has every sample of a table once.`);
  }
  return tars
    ? await openTars(recipe, data, workFolder)
    : await openTable(recipe, await openPairs({ ...data, workFolder }), data, workFolder);
}

/** Whether a folder of rewrites says anything to the recipe: texts to choose from, or how much the captions themselves count. */
function readsRewrites({ captions: { choose, weighing } }: Recipe): boolean {
  return choose !== "original" || weighing === "loss";
}

/** A table, joined with its rewrites where the recipe wants them. */
async function openTable(recipe: Recipe, opened: Pairs | JoinedPairs, data: RunData, workFolder: string): Promise<OpenedData> {
  let pairs = opened;
  if (readsRewrites(recipe) && data.rewrites !== undefined) {
    const { rewrites, minimumMatched, otherCaptions } = data;
    pairs = await joinRewrites(opened, rewrites, { sources: recipe.captions.sources, minimumMatched, otherCaptions, workFolder });
  }
  if (recipe.captions.choose !== "original" && !("rewrites" in pairs)) throw noRewrites(data.file);
  if ("rewrites" in pairs) {
    const { matched, unmatched, sources } = pairs.rewrites;
    // Those of a folder were held against the limit when they were joined.
    if (data.rewrites === undefined)
      refuseGaps(data, shownShards(data.file), `${matched + unmatched} samples`, matched, matched + unmatched);
    log.info(`Rewrites: ${matched} of ${matched + unmatched} samples have some, from ${sources.join(", ")}.`);
    const unknown = unknownSource(recipe, sources);
    if (unknown !== undefined) throw new UsageError(unknown, { mend: mendSources });
  }
  const described = { captions: pairs.fingerprint, rewrites: "rewrites" in pairs ? describedRewrites(pairs.rewrites) : null };
  // The index by id is needed no more; a large one takes hundreds of megabytes.
  return { samples: pairs.samples, count: pairs.samples.length, described, close: () => pairs.samples.close() };
}

async function openTars(recipe: Recipe, data: RunData, workFolder: string): Promise<OpenedData> {
  const { captions } = recipe;
  const { order = "auto", shuffle, interleave, samplesPerEpoch } = recipe.data ?? {};
  const name = shownShards(data.file);
  const patience = data.signal === undefined ? {} : { signal: data.signal };
  const listed = await listShards(data.file, patience);
  const idColumn =
    data.idColumn ??
    (await defaultIdColumn(
      listed.map(({ address }) => address),
      patience,
    ));
  const sources = captions.choose === "original" ? [] : captions.sources;
  const texts = { idColumn, captionColumn: data.captionColumn, textKeys: data.textKeys };
  const shards = await countSamples(listed, patience);
  const count = shards.reduce((sum, { samples }) => sum + samples, 0);
  const here = shards.every(({ address }) => !isAddress(address) && /\.tar$/i.test(address));
  if (order === "table" && !here) {
    throw new UsageError(`${name}: tars that are compressed, or elsewhere, can't be read in any order (data.order=table).`, {
      mend: "Leave that setting out, or unpack them or copy them here.",
    });
  }
  if (order === "table" && samplesPerEpoch !== undefined) {
    throw new UsageError(
      "A table has every sample once an epoch (data.order=table): it can't be drawn from with replacement (data.samplesPerEpoch).",
    );
  }
  if (order === "table" || (order === "auto" && here && count <= mostInTable && samplesPerEpoch === undefined)) {
    const paths = shards.map(({ address }) => address);
    const { maximumSkipped } = data;
    // Rewrites of a folder come in the place of those in the tars.
    const own = data.rewrites === undefined ? sources : [];
    const pairs = await openTarPairs(paths, { name, maximumSkipped, workFolder, sources: own, ...texts });
    return await openTable(recipe, pairs, data, workFolder);
  }
  const rewrites =
    !readsRewrites(recipe) || data.rewrites === undefined
      ? undefined
      : await lookUpRewrites(data.rewrites, { sources: captions.sources, workFolder });
  const samples: ShardedSamples = {
    shards,
    texts,
    sources,
    rewrites: rewrites?.lookup.memory,
    ...(shuffle === undefined ? {} : { shuffle }),
    ...(interleave === undefined ? {} : { interleave }),
    ...(samplesPerEpoch === undefined ? {} : { resample: { samplesPerEpoch } }),
  };
  await checkFirst(recipe, data, samples, name, rewrites?.sources);
  log.info(`${name}: ${count} samples in ${shards.length} tars, read from front to back.`);
  const list = shards.map(({ address, samples: inShard }) => [address.replace(/^.*\//, "").replace(/[?#].*$/s, ""), inShard]);
  const described = {
    tars: { count: shards.length, samples: count, hash: sha256(JSON.stringify(list)) },
    // Which texts are read is not in that; what nobody named stays out.
    ...(Object.values(texts).some((named) => named !== undefined) ? { texts } : {}),
    rewrites: rewrites === undefined ? null : describedRewrites(rewrites),
  };
  return { samples, count: samplesPerEpoch ?? count, described, close: () => rewrites?.lookup.close() };
}

/** Which rewrites a run had: the sources by name too, so that whoever holds runs against each other can say in what they differ. */
function describedRewrites({ fingerprint, sources }: { fingerprint: CaptionsFingerprint; sources: readonly string[] }): object {
  return { ...fingerprint, sources: [...sources] };
}

/** Looks at the first samples before hours are spent on the rest. */
async function checkFirst(
  recipe: Recipe,
  data: RunData,
  samples: ShardedSamples,
  name: string,
  folderSources: readonly string[] | undefined,
): Promise<void> {
  const { looked, rewritten, sources, unusable, repeated, examples } = await probeShards(samples, 1000);
  if (looked > 0 && unusable === looked) {
    throw new DataError(`${name}: none of the first ${looked} samples can be used.\n  ${examples.join("\n  ")}`, {
      mend: "Name the key of the .json that holds the caption (--caption-column) or the id (--id-column).",
    });
  }
  if (repeated > 0) {
    throw new DataError(
      `${name}: of the first ${looked} samples, ${repeated} have an id that was there before.\n  ${examples.join("\n  ")}`,
      {
        mend: "Name the key of the .json that tells samples apart (--id-column), for instance `hash:url`.",
      },
    );
  }
  if (recipe.captions.choose === "original") return;
  if (rewritten === 0 && data.rewrites === undefined) throw noRewrites(name);
  const usable = looked - unusable;
  refuseGaps(data, name, `the first ${usable} samples`, rewritten, usable);
  const unknown = unknownSource(recipe, folderSources ?? sources);
  if (unknown !== undefined && folderSources !== undefined) throw new UsageError(unknown, { mend: mendSources });
  // Of tars only the first samples are known by now.
  if (unknown !== undefined) log.warn(`Of the first ${usable} samples: ${unknown}`);
  log.info(`Rewrites: ${rewritten} of the first ${usable} samples have some, from ${sources.join(", ")}.`);
}

function noRewrites(name: string): UsageError {
  return new UsageError(`${name}: there are no rewrites in these tars, and the recipe chooses among them.`, {
    mend: "Give a rewrites folder with --rewrites, put rewrites into the tars with `laclip data pack`, or train CLIP with --set captions.choose=original.",
  });
}

/** @throws DataError when too few samples have a rewrite; `these` says in words which ones were looked at */
function refuseGaps({ rewrites, minimumMatched = 0.99 }: RunData, name: string, these: string, rewritten: number, usable: number): void {
  if (rewritten >= usable * minimumMatched) return;
  throw new DataError(
    `${rewrites ?? name}: of ${these}${rewrites === undefined ? "" : ` of ${name}`}, ${rewritten} have a rewrite, expected at least ${shortPercent(minimumMatched)}.`,
    { mend: "Give the rewrites of these samples, with the ids that they were made for (--id-column), or allow gaps (--min-matched)." },
  );
}

/** What is wrong with the names of sources in a recipe: a slip there would silently train on other texts than were meant. */
function unknownSource({ captions }: Recipe, sources: readonly string[]): string | undefined {
  const { choose, weights = {}, fallback = [] } = captions;
  const weighed =
    choose !== "weighted"
      ? []
      : [...(Array.isArray(weights) ? weights.flatMap((part) => Object.keys(part.weights)) : Object.keys(weights)), ...fallback];
  const unknown = [...(captions.sources ?? []), ...weighed].find((source) => source !== "original" && !sources.includes(source));
  if (unknown === undefined) return undefined;
  return `The recipe asks for captions from "${unknown}", and the data have none; they have ${["original", ...sources].join(", ")}.`;
}

const mendSources = "Change captions.sources, captions.weights or captions.fallback, or give the rewrites that they name.";
