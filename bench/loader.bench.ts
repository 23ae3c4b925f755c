/**
 * Images per second from files to crops: the stage alone against Pillow and torchvision, and the loader beside a step that blocks.
 *
 *   node dist/bench/loader.bench.js [--python python3] [--images FOLDER] [--size 224] [--rounds 5]
 *
 * FOLDER holds JPEG files; without it 200 photo-like ones of 500 x 375 are made. Without --python there is no other side.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { openLoader, SampleTable } from "../src/data/index.ts";
import { decodeImage, trainingImage } from "../src/images/index.ts";
import { Random } from "../src/support/index.ts";

const { values } = parseArgs({
  options: {
    python: { type: "string" },
    images: { type: "string" },
    size: { type: "string", default: "224" },
    rounds: { type: "string", default: "5" },
  },
});
const size = Number(values.size);
const rounds = Number(values.rounds);
const scratch = mkdtempSync(join(tmpdir(), "laclip-loader-bench-"));

/** Coarse noise blown up, with fine noise on it: compresses about as a photo does. */
async function makePhotos(folder: string): Promise<void> {
  mkdirSync(folder);
  for (let i = 0; i < 200; i++) {
    const random = Random.of("photo", i);
    const noise = (width: number, height: number): Uint8Array => Uint8Array.from({ length: width * height * 3 }, () => random.integer(256));
    const fine = await sharp(noise(250, 188), { raw: { width: 250, height: 188, channels: 3 } })
      .resize(500, 375)
      .ensureAlpha(0.12)
      .raw()
      .toBuffer();
    await sharp(noise(24, 18), { raw: { width: 24, height: 18, channels: 3 } })
      .resize(500, 375, { fit: "fill" })
      .composite([{ input: fine, raw: { width: 500, height: 375, channels: 4 } }])
      .jpeg({ quality: 90 })
      .toFile(join(folder, `${i}.jpg`));
  }
}

async function cpuSeconds(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

const folder = values.images ?? join(scratch, "photos");
if (values.images === undefined) await makePhotos(folder);
const paths = readdirSync(folder)
  .filter((name) => /\.jpe?g$/i.test(name))
  .sort()
  .map((name) => join(folder, name));
const list = join(scratch, "paths.txt");
writeFileSync(list, paths.join("\n"));

const peer =
  values.python === undefined
    ? undefined
    : spawn(values.python, [join("bench", "loader_peer.py"), String(size), list], { stdio: ["pipe", "pipe", "inherit"] });
const answers = peer && createInterface({ input: peer.stdout })[Symbol.asyncIterator]();

const ours: number[] = [];
const decodes: number[] = [];
const theirs: number[] = [];
for (let round = 0; round <= rounds; round++) {
  const seconds = await cpuSeconds(async () => {
    for (const path of paths) await trainingImage(path, { size, random: Random.of(round, path) });
  });
  const decode = await cpuSeconds(async () => {
    for (const path of paths) await decodeImage(path);
  });
  peer?.stdin.write("\n");
  const answer = answers && Number((await answers.next()).value);
  // The first round only warms up.
  if (round === 0) continue;
  ours.push(paths.length / seconds);
  decodes.push(paths.length / decode);
  if (answer !== undefined) theirs.push(paths.length / answer);
}
peer?.stdin.end();
if (peer) await once(peer, "exit");
console.log(`decode + crop to ${size}: ${median(ours).toFixed(0)} images per CPU-second (decoding alone ${median(decodes).toFixed(0)})`);
if (peer)
  console.log(
    `Pillow + torchvision: ${median(theirs).toFixed(0)} images per CPU-second; ratio ${(median(ours) / median(theirs)).toFixed(2)}`,
  );

const samples = SampleTable.of(
  paths.map((image, i) => ({ id: String(i), image, captions: [{ source: "original", text: `a photo of thing ${i}` }] })),
);
const pause = new Int32Array(new SharedArrayBuffer(4));

/** Batches of 32; each is followed by a pause that blocks this thread as a training step does. */
async function load(steps: number, pauseMs: number, cacheBytes: number): Promise<{ rate: number; waited: number }> {
  const loader = openLoader({ samples, batchSize: 32, imageSize: size, seed: 1, choose: "original", totalSteps: steps + 5, cacheBytes });
  // The first batches carry the start of the thread.
  for (let i = 0; i < 5; i++) await loader.next();
  const start = performance.now();
  let waited = 0;
  for (let i = 0; i < steps; i++) {
    const asked = performance.now();
    await loader.next();
    waited += performance.now() - asked;
    if (pauseMs > 0) Atomics.wait(pause, 0, 0, pauseMs);
  }
  const seconds = (performance.now() - start) / 1000;
  await loader.close();
  return { rate: (steps * 32) / seconds, waited: waited / steps };
}

const free = await load(40, 0, 0);
console.log(`loader, nobody else at work: ${free.rate.toFixed(0)} images per second`);
const cached = await load(40, 0, 1e9);
console.log(`loader, decoded images kept: ${cached.rate.toFixed(0)} images per second`);
const blocked = await load(20, 250, 0);
console.log(`beside steps that block for 250 ms: ${blocked.waited.toFixed(1)} ms of waiting for each batch of 32`);
rmSync(scratch, { recursive: true });
