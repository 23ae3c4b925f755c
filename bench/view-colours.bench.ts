/**
 * What changing the colours of SLIP's views costs the loader, and what it costs the device that trains.
 *
 *   node dist/bench/view-colours.bench.js [--images FOLDER] [--size 224] [--batch 32] [--steps 12] [--rounds 3] [--device cpu]
 *
 * FOLDER holds JPEG files; without it photos of two sizes are made. The loader makes batches for CLIP, for SLIP, and for SLIP with colours
 * left to the device, in turn. Processor time is that of all threads of the process, images/s that of nobody else at work.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Batch, type LoaderOptions, openLoader, SampleTable } from "../src/data/index.ts";
import { Tensor, deviceName, findDevice, scope, synchronize } from "../src/torch/index.ts";
import { changeViewColours } from "../src/training/index.ts";
import { makePhotos, photoSets } from "./images/photos.ts";

const { values } = parseArgs({
  options: {
    images: { type: "string" },
    size: { type: "string", default: "224" },
    batch: { type: "string", default: "32" },
    steps: { type: "string", default: "12" },
    rounds: { type: "string", default: "3" },
    device: { type: "string", default: "cpu" },
  },
});
const [imageSize, batchSize, steps, rounds] = [values.size, values.batch, values.steps, values.rounds].map(Number) as [
  number,
  number,
  number,
  number,
];
const device = findDevice(values.device);
const scratch = mkdtempSync(join(tmpdir(), "laclip-view-colours-"));

const ways: Record<string, Partial<LoaderOptions>> = {
  "CLIP's crop": {},
  "SLIP's three views": { views: true },
  "SLIP's, colours left to the device": { views: true, leaveColours: true },
};

interface Load {
  /** Images a second. */
  rate: number;
  /** Milliseconds of processor time for an image. */
  cpu: number;
  last: Batch;
}

async function load(samples: SampleTable, way: Partial<LoaderOptions>): Promise<Load> {
  // The first batches carry the start of the thread, and some are made ahead: measured is what comes after all of these.
  const [warmup, prefetch] = [2, 3];
  const totalSteps = warmup + prefetch + steps;
  const loader = openLoader({ samples, batchSize, imageSize, seed: 1, choose: "original", totalSteps, prefetch, ...way });
  for (let i = 0; i < warmup; i++) await loader.next();
  for (let used = Infinity; used > 1e4;) {
    const before = process.cpuUsage();
    await sleep(200);
    const { user, system } = process.cpuUsage(before);
    used = user + system;
  }
  const started = performance.now();
  const before = process.cpuUsage();
  let last: Batch | undefined;
  for await (const batch of loader) last = batch;
  const { user, system } = process.cpuUsage(before);
  const images = steps * batchSize;
  return { rate: (1000 * images) / (performance.now() - started), cpu: (user + system) / 1000 / images, last: last! };
}

/** Milliseconds for an image of a batch, until the device is done. */
function change({ views, viewColours, ids }: Batch): number {
  return scope(() => {
    const there = Tensor.from(views!, [2 * ids.length, imageSize, imageSize, 3], { device });
    synchronize(device);
    const started = performance.now();
    changeViewColours(there, viewColours!);
    synchronize(device);
    return (performance.now() - started) / ids.length;
  });
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}

async function compare(name: string, paths: readonly string[]): Promise<void> {
  // The same photos again and again are as many as a batch takes: JPEGs are read anew each time.
  const rows = Array.from({ length: Math.max(paths.length, batchSize) }, (_, i) => paths[i % paths.length]!);
  const samples = SampleTable.of(
    rows.map((image, i) => ({ id: String(i), image, captions: [{ source: "original", text: `a photo of thing ${i}` }] })),
  );
  const found = new Map(Object.keys(ways).map((way) => [way, [] as Load[]]));
  const changes: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const [way, settings] of Object.entries(ways)) found.get(way)!.push(await load(samples, settings));
    const left = found.get("SLIP's, colours left to the device")!.at(-1)!;
    // The first time makes tables.
    if (round === 0) change(left.last);
    changes.push(change(left.last));
  }
  console.log(`${name}, ${rounds} rounds of ${steps} batches of ${batchSize}:`);
  for (const [way, loads] of found) {
    const cpu = median(loads.map((one) => one.cpu));
    console.log(`  ${way}: ${cpu.toFixed(2)} ms of processor time an image; ${median(loads.map(({ rate }) => rate)).toFixed(0)} images/s`);
  }
  console.log(`  colours of both views on ${deviceName(device) ?? device}: ${median(changes).toFixed(3)} ms an image`);
}

console.log(`${availableParallelism()} cores; views of ${imageSize} pixels`);
try {
  if (values.images === undefined) {
    for (const set of photoSets.slice(0, 2)) await compare(set.name, await makePhotos(join(scratch, set.name), set));
  } else {
    const files = readdirSync(values.images).filter((file) => /\.jpe?g$/i.test(file));
    await compare(
      values.images,
      files.toSorted().map((file) => join(values.images!, file)),
    );
  }
} finally {
  rmSync(scratch, { recursive: true });
}
