/**
 * Images per CPU-second from JPEG bytes to the pixels that a model sees, against Pillow and torchvision on the same bytes.
 *
 *   node dist/bench/images/compare.js [--python python3] [--images FOLDER]... [--rounds 7] [--size 224]
 *
 * Each FOLDER holds JPEG files; without one, photos of three sizes are made. Both sides do the same work in turn, and each counts the
 * processor time of its whole process with all its threads; both work on one image at a time. Without --python there is no other side.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import {
  decodeImage,
  evaluationImage,
  evaluationImageInto,
  imageEngine,
  setImageThreads,
  slipViewsInto,
  trainingImage,
  trainingViewInto,
} from "../../src/images/index.ts";
import { Random } from "../../src/support/index.ts";
import { makePhotos, photoSets } from "./photos.ts";

const { values } = parseArgs({
  options: {
    python: { type: "string" },
    images: { type: "string", multiple: true },
    rounds: { type: "string", default: "7" },
    size: { type: "string", default: "224" },
  },
});
const size = Number(values.size);
const rounds = Number(values.rounds);

/** Images that are asked for at once, as a loader does; one thread works them off. */
const inFlight = 16;

type Make = (bytes: Uint8Array, seed: string, target: Uint8Array) => Promise<unknown>;

/** Ours by name, and the peer's work (peer.py) that each is held against. */
const tasks: [name: string, peers: string[], make: Make][] = [
  ["training crop", ["crop", "draft"], (bytes, seed, target) => trainingViewInto(bytes, { size, random: Random.of(seed) }, target)],
  [
    "training crop, exact",
    ["crop", "draft"],
    (bytes, seed, target) => trainingViewInto(bytes, { size, random: Random.of(seed), exact: true }, target),
  ],
  ["evaluation, bilinear", ["bilinear"], (bytes, _, target) => evaluationImageInto(bytes, { size, interpolation: "bilinear" }, target)],
  ["evaluation, bicubic", ["bicubic"], (bytes, _, target) => evaluationImageInto(bytes, { size, interpolation: "bicubic" }, target)],
  ["whole image", ["decode"], (bytes) => decodeImage(bytes)],
  ["SLIP's three views", ["slip"], (bytes, seed, target) => slipViewsInto(bytes, { size, random: Random.of(seed) }, target)],
];

async function cpuSeconds(files: readonly Uint8Array[], round: number, make: Make): Promise<number> {
  const targets = Array.from({ length: inFlight }, () => new Uint8Array(new SharedArrayBuffer(3 * size * size * 3)));
  const before = process.cpuUsage();
  let next = 0;
  const lane = async (target: Uint8Array): Promise<void> => {
    for (let i = next++; i < files.length; i = next++) await make(files[i]!, `${round} ${i}`, target);
  };
  await Promise.all(targets.map(lane));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}

/** Mean difference of the fast training crop to the exact one, in byte values: over all photos, and of the worst. */
async function differences(files: readonly Uint8Array[]): Promise<{ mean: number; worst: number }> {
  const found: number[] = [];
  for (const [i, bytes] of files.entries()) {
    const exact = await trainingImage(bytes, { size, random: Random.of(i) });
    const fast = new Uint8Array(exact.length);
    await trainingViewInto(bytes, { size, random: Random.of(i) }, fast);
    found.push(exact.reduce((sum, value, at) => sum + Math.abs(value - fast[at]!), 0) / exact.length);
  }
  return { mean: found.reduce((a, b) => a + b, 0) / found.length, worst: Math.max(...found) };
}

class Peer {
  readonly #child;
  readonly #answers: AsyncIterator<string>;

  constructor(python: string, list: string) {
    // Pillow takes and gives back the memory of each image; where the system has to clear new pages that costs half of its time. The C
    // library's own switches keep the memory, which makes this side up to twice as fast.
    const env = { ...process.env, MALLOC_MMAP_THRESHOLD_: "4000000000", MALLOC_TRIM_THRESHOLD_: "4000000000" };
    this.#child = spawn(python, [join("bench", "images", "peer.py"), String(size), list], { stdio: ["pipe", "pipe", "inherit"], env });
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async seconds(task: string): Promise<number> {
    this.#child.stdin.write(`${task}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("the other side has ended");
    return Number(value);
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    await once(this.#child, "exit");
  }
}

async function measure(name: string, paths: readonly string[], scratch: string): Promise<void> {
  const files = paths.map((path) => readFileSync(path));
  const kilobytes = median(paths.map((path) => statSync(path).size)) / 1000;
  const { mean, worst } = await differences(files);
  console.log(`\n${name}: ${paths.length} JPEGs, median ${kilobytes.toFixed(0)} KB`);
  console.log(`  training crops differ from the exact ones by ${mean.toFixed(2)} in the mean, ${worst.toFixed(2)} at worst`);
  const list = join(scratch, "paths.txt");
  writeFileSync(list, paths.join("\n"));
  const peer = values.python === undefined ? undefined : new Peer(values.python, list);
  for (const [task, peers, make] of tasks) {
    const ours: number[] = [];
    const theirs = new Map<string, number[]>(peers.map((other) => [other, []]));
    for (let round = 0; round <= rounds; round++) {
      const rate = files.length / (await cpuSeconds(files, round, make));
      // The first round only warms up.
      if (round > 0) ours.push(rate);
      for (const [other, rates] of theirs) {
        if (peer === undefined) continue;
        const seconds = await peer.seconds(other);
        if (round > 0) rates.push(files.length / seconds);
      }
    }
    const against = [...theirs].filter(([, rates]) => rates.length > 0);
    const words = against.map(([other, rates]) => {
      const ratio = median(ours.map((rate, i) => rate / rates[i]!));
      return `${other} ${median(rates).toFixed(1)}, ratio ${ratio.toFixed(2)}`;
    });
    console.log(`  ${task}: ${[median(ours).toFixed(1), ...words].join("; ")}`);
  }
  await peer?.end();
}

setImageThreads(1);
const scratch = mkdtempSync(join(tmpdir(), "laclip-images-bench-"));
const { addon, libjpeg, missing } = imageEngine();
console.log(`images per CPU-second to ${size} x ${size}; ${addon === null ? missing : `addon with libjpeg-turbo ${libjpeg}`}`);
// Loads what is loaded at the first use.
await evaluationImage(join("test", "parity", "images", "files", "photo.jpg"), { size });
if (values.images === undefined) {
  for (const set of photoSets) await measure(set.name, await makePhotos(join(scratch, set.name), set), scratch);
} else {
  for (const folder of values.images) {
    const names = readdirSync(folder).filter((name) => /\.jpe?g$/iu.test(name));
    const paths = names.sort().map((name) => join(folder, name));
    await measure(basename(folder), paths, scratch);
  }
}
rmSync(scratch, { recursive: true });
