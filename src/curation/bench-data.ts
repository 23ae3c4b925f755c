/**
 * How fast data come: samples a second of each stage alone, then of the whole loader, and which stage is worth mending.
 *
 * Time is measured twice. Wall seconds say what a run waits for on this machine as it is; seconds of processor say what a sample costs,
 * however many processors share it. Decoding, cropping, tokenising and collating work on a few hundred samples that are in memory, so that
 * the disk has no part in them.
 */
import { availableParallelism } from "node:os";
import type { ImageSource, LoaderSamples, SampleTable, Shard } from "../data/index.ts";
import { MemberTexts, countSamples, imageSuffixes, shownAddress, shownShards, trainingSamples } from "../data/index.ts";
import type { Pixels } from "../images/index.ts";
import { DataError, LaclipError, Random, UsageError } from "../support/index.ts";
import { findTars } from "./found-tars.ts";
import type { FoundTars } from "./found-tars.ts";
import { kindOfData, openCollection, refuseOtherFlags } from "./image-collection.ts";
import type { CollectionOptions, DataKind } from "./image-collection.ts";
import {
  augmentStage,
  collateStage,
  decodeAndAugmentStage,
  decodeStage,
  loadStage,
  readStage,
  readTarStage,
  tokenizeStage,
} from "./loading-stages.ts";

/** What is measured, and for how long. */
export interface BenchDataOptions extends Omit<CollectionOptions, "rewrites" | "join" | "maximumSkipped" | "checkImages"> {
  /** Samples of a batch. Default 64. */
  batchSize?: number | undefined;
  /** Side of the images in pixels. Default 224. */
  imageSize?: number | undefined;
  /** Seconds for each stage. Default 3. */
  seconds?: number | undefined;
  /** Called with each stage's report as soon as it is there. */
  onStage?: ((report: StageReport) => void) | undefined;
}

/** Name of a stage. "loader" is all of them together, as training uses them. */
export type StageName = "read" | "decode" | "augment" | "decode+augment" | "tokenize" | "collate" | "loader";

/** How fast a stage is. */
export interface StageReport {
  stage: StageName;
  /** Samples that passed. */
  samples: number;
  perSecond: number;
  perCpuSecond: number;
}

/** What was measured. */
export interface BenchDataReport {
  path: string;
  kind: DataKind;
  batchSize: number;
  imageSize: number;
  processors: number;
  /** Of the images that were decoded: median pixels of the shorter side, mean bytes of a file. */
  shorterSide: number;
  bytes: number;
  stages: StageReport[];
  /** Share of each stage in the processor time of a sample, 0..1. */
  shares: Partial<Record<StageName, number>>;
  /** The stage that is worth mending. */
  limit: StageName;
  /** What would help, in sentences. */
  advice: string[];
}

/** Samples in memory, at most; fewer where they are large. */
const poolSamples = 512;
const poolBytes = 128e6;
/** Images under way at once, as in training. */
const inFlight = 8;

/** Samples that the stages work on. */
interface Pool {
  images: Uint8Array[];
  captions: string[];
}

/**
 * Measures a data set.
 * @throws DataError when there is nothing to measure
 */
export async function benchData(options: BenchDataOptions): Promise<BenchDataReport> {
  const { batchSize = 64, imageSize = 224, seconds = 3, onStage, ...source } = options;
  if (!(seconds > 0)) throw new UsageError(`Seconds for each stage must be more than 0, got ${seconds}.`);
  const kind = kindOfData(source.path);
  const path = shownShards(source.path);
  // Tars are read as training reads those that are too many for a table: from front to back.
  if (kind === "tars") refuseOtherFlags(source.path, kind, source);
  const tars = kind === "tars" ? await findTars(source.path, source) : undefined;
  const samples = tars ? undefined : (await openCollection({ ...source, maximumSkipped: 1 })).pairs.samples;
  const pool = samples ? await poolOfFiles(samples) : await poolOfTars(tars!);
  const decoded = await decodeSome(pool.images);
  if (decoded.length === 0) throw new DataError(`${path}: none of the first ${pool.images.length} images can be decoded.`);

  const stages: StageReport[] = [];
  const measure = async (stage: StageName, batches: AsyncIterable<number>): Promise<void> => {
    const report = { stage, ...(await timed(batches, seconds)) };
    stages.push(report);
    onStage?.(report);
  };
  const images = decoded.map(({ bytes }) => bytes);
  const random = Random.of("bench", imageSize);
  const views = take(decoded, batchSize).map(({ pixels }) => augmentStage(pixels, imageSize, random));

  await measure("read", samples ? readFiles(samples, batchSize) : readTars(tars!.shards, batchSize));
  await measure("decode", inTurn(images, batchSize, decodeStage));
  await measure(
    "augment",
    inTurn(decoded, batchSize, async ({ pixels }) => augmentStage(pixels, imageSize, random)),
  );
  await measure(
    "decode+augment",
    inTurn(images, batchSize, async (bytes) => await decodeAndAugmentStage(bytes, imageSize, random)),
  );
  await measure("tokenize", wholeBatches(batchSize, batchesOf(pool.captions, batchSize), tokenizeStage));
  await measure("collate", wholeBatches(batchSize, [views], collateStage));
  const all = samples ?? { shards: await countSamples(tars!.shards), texts: tars!.keys };
  if (trainingSamples(all).count >= batchSize) await measure("loader", loaded(all, { batchSize, imageSize }));

  const sides = decoded.map(({ pixels }) => Math.min(pixels.width, pixels.height)).sort((a, b) => a - b);
  const facts = {
    path,
    kind,
    batchSize,
    imageSize,
    processors: availableParallelism(),
    shorterSide: sides[sides.length >> 1]!,
    bytes: images.reduce((sum, bytes) => sum + bytes.length, 0) / images.length,
    stages,
  };
  return { ...facts, ...judge(facts) };
}

async function poolOfFiles(samples: SampleTable): Promise<Pool> {
  const pool: Pool = { images: [], captions: [] };
  let bytes = 0;
  for (const row of Random.of("bench", "pool").permutation(samples.length)) {
    if (pool.images.length >= poolSamples || bytes >= poolBytes) break;
    const image = await orNothing(readStage(samples.image(row)));
    if (image === undefined) continue;
    bytes += image.length;
    pool.images.push(image);
    pool.captions.push(samples.caption(row));
  }
  return pool;
}

async function poolOfTars({ shards, keys }: FoundTars): Promise<Pool> {
  const pool: Pool = { images: [], captions: [] };
  let bytes = 0;
  for (const { address: tar } of shards) {
    for await (const { key, members } of readTarStage(tar)) {
      const image = [...imageSuffixes].map((suffix) => members.get(suffix)).find((found) => found !== undefined);
      if (image === undefined) continue;
      bytes += image.length;
      // A copy: the member is a piece of what was read of the tar, and would keep all of that in memory.
      pool.images.push(Buffer.from(image));
      const caption = async (): Promise<string> => new MemberTexts(shownAddress(tar), key, members).caption(keys.captionColumn);
      pool.captions.push((await orNothing(caption())) ?? "");
      if (pool.images.length >= poolSamples || bytes >= poolBytes) return pool;
    }
  }
  return pool;
}

/** What can't be read is left out: `laclip inspect data` tells of it. */
async function orNothing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (LaclipError.is(error)) return undefined;
    throw error;
  }
}

async function decodeSome(images: readonly Uint8Array[]): Promise<{ bytes: Uint8Array; pixels: Pixels }[]> {
  const decoded: { bytes: Uint8Array; pixels: Pixels }[] = [];
  let room = poolBytes;
  for (const bytes of images) {
    const pixels = await orNothing(decodeStage(bytes));
    if (pixels === undefined) continue;
    decoded.push({ bytes, pixels });
    room -= pixels.data.byteLength;
    if (room < 0) break;
  }
  return decoded;
}

/** So many of a list, from its beginning again where it is shorter. */
function take<T>(items: readonly T[], count: number): T[] {
  return Array.from({ length: count }, (_, i) => items[i % items.length]!);
}

/** Takes batches for some seconds; the first one warms up and is not counted. */
async function timed(batches: AsyncIterable<number>, seconds: number): Promise<Omit<StageReport, "stage">> {
  let samples = 0;
  let started: { wall: number; cpu: NodeJS.CpuUsage } | undefined;
  let [wall, cpu] = [0, 0];
  for await (const count of batches) {
    if (started === undefined) {
      started = { wall: performance.now(), cpu: process.cpuUsage() };
      continue;
    }
    samples += count;
    wall = (performance.now() - started.wall) / 1000;
    const { user, system } = process.cpuUsage(started.cpu);
    cpu = (user + system) / 1e6;
    if (wall >= seconds) break;
  }
  return { samples, perSecond: samples / Math.max(wall, 1e-9), perCpuSecond: samples / Math.max(cpu, 1e-9) };
}

/** Files in a random order, as training reads them, over and over. */
async function* readFiles(samples: SampleTable, batchSize: number): AsyncGenerator<number> {
  const order = Random.of("bench", "read").permutation(samples.length);
  const imageAt = (i: number): ImageSource => samples.image(order[i % order.length]!);
  for (let from = 0; ; from += batchSize) {
    let next = from;
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        while (next < from + batchSize) await orNothing(readStage(imageAt(next++)));
      }),
    );
    yield batchSize;
  }
}

async function* readTars(shards: readonly Shard[], batchSize: number): AsyncGenerator<number> {
  for (;;) {
    let count = 0;
    for (const { address: tar } of shards) {
      for await (const _sample of readTarStage(tar)) {
        if (++count % batchSize === 0) yield batchSize;
      }
    }
    yield count % batchSize;
  }
}

async function* inTurn<T>(items: readonly T[], batchSize: number, work: (item: T) => Promise<unknown>): AsyncGenerator<number> {
  for (let from = 0; ; from += batchSize) {
    let next = from;
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        while (next < from + batchSize) await work(items[next++ % items.length]!);
      }),
    );
    yield batchSize;
  }
}

function batchesOf<T>(items: readonly T[], batchSize: number): T[][] {
  return Array.from({ length: Math.max(1, Math.floor(items.length / batchSize)) }, (_, i) =>
    Array.from({ length: batchSize }, (_item, j) => items[(i * batchSize + j) % items.length]!),
  );
}

async function* wholeBatches<T>(batchSize: number, batches: readonly T[], work: (batch: T) => unknown): AsyncGenerator<number> {
  for (let i = 0; ; i++) {
    work(batches[i % batches.length]!);
    yield batchSize;
  }
}

async function* loaded(samples: LoaderSamples, settings: { batchSize: number; imageSize: number }): AsyncGenerator<number> {
  for await (const { ids } of loadStage(samples, settings)) yield ids.length;
}

/** The stages of which a sample's work consists. */
const parts = ["read", "decode", "augment", "tokenize", "collate"] as const;

/** Which stage takes most of a sample's work, or keeps the others waiting, and what would help. */
export function judge(report: Omit<BenchDataReport, "shares" | "limit" | "advice">): Pick<BenchDataReport, "shares" | "limit" | "advice"> {
  const { stages, imageSize, shorterSide, processors, kind } = report;
  const rate = (name: StageName): StageReport | undefined => stages.find(({ stage }) => stage === name);
  const cost = (name: StageName): number => 1 / rate(name)!.perCpuSecond;
  const whole = parts.reduce((sum, part) => sum + cost(part), 0);
  const shares = Object.fromEntries(parts.map((part) => [part, cost(part) / whole]));
  const costliest = parts.reduce((most, part) => (cost(part) > cost(most) ? part : most));
  // What all processors together could do, if the disk kept up.
  const together = cost("read") + cost("decode+augment") + cost("tokenize") + cost("collate");
  const possible = processors / together;
  const limit = rate("read")!.perSecond < possible ? "read" : costliest;
  const advice: string[] = [];
  if (limit === "read") {
    advice.push(
      kind === "tars"
        ? "Reading is slower than the processors are: a faster disk, or smaller stored images (`laclip data pack --resize`), would help."
        : "Reading is slower than the processors are: tars (`laclip data pack`) are read in one go instead of file by file; a faster disk would help too.",
    );
  }
  if ((limit === "decode" || limit === "augment" || limit === "read") && shorterSide >= 1.5 * imageSize) {
    const side = Math.ceil((imageSize * 8) / 7);
    advice.push(
      `Half of the images have a shorter side of ${shorterSide} pixels or more, for a model that sees ${imageSize}: stored smaller (\`laclip data pack --resize ${side}\`) they are read and decoded faster.`,
    );
  }
  if (limit === "decode" || limit === "augment") advice.push("More processors help: each sample is made on its own.");
  if (limit === "tokenize") advice.push("The captions are long, or the images tiny: tokenising takes most of the work.");
  if (limit === "collate") advice.push("Copying takes most of the work: the memory of this machine is the limit.");
  const loader = rate("loader");
  if (loader && loader.perSecond < 0.6 * Math.min(possible, rate("read")!.perSecond)) {
    const used = loader.perSecond / loader.perCpuSecond;
    advice.push(
      `The loader keeps ${used.toFixed(1)} of ${processors} processors busy, and its stages together could make ${Math.round(possible)} samples a second.`,
    );
  }
  return { shares, limit, advice };
}
