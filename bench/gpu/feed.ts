/**
 * Whether the loader feeds the device: a training run on image files, from the command line as a person starts it, and the share of a step
 * that it waits for its batch.
 *
 *   node dist/bench/gpu/feed.js --device cuda --from tars --batch 1024 --steps 40
 *
 * The pictures are made at the first call, on all processors: 500 x 375, detail of all sizes and some 50 kB each, as photos have. There are
 * several copies of each, under names of their own: what reading and decoding cost is the same, and only a small part of them fits into the
 * memory that the loader keeps decoded images in. Prints one JSON object.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { csvLine } from "../../src/formats/index.ts";
import { imageEngine } from "../../src/images/index.ts";
import { Random } from "../../src/support/index.ts";
import { type RunEvent, readEvents } from "../../src/training/index.ts";
import { makePhotos } from "../images/photos.ts";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    preset: { type: "string", default: "vit-b-16" },
    precision: { type: "string", default: "bf16" },
    batch: { type: "string", default: "256" },
    from: { type: "string", default: "table" },
    steps: { type: "string", default: "40" },
    warmup: { type: "string", default: "20" },
    /** Pictures in all, and how many of them are different. */
    pictures: { type: "string", default: "8192" },
    different: { type: "string", default: "512" },
    /** Where pictures and tars stay. */
    work: { type: "string", default: "build/gpu/feed" },
    /** Makes the pictures of this number alone, for the call that has started this one. */
    make: { type: "string" },
  },
});
const [batch, steps, warmup, pictures, different] = [values.batch, values.steps, values.warmup, values.pictures, values.different].map(
  Number,
) as [number, number, number, number, number];
const main = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const self = fileURLToPath(import.meta.url);
const work = join(values.work, `${pictures}-${different}`);
const images = join(work, "images");
const table = join(work, "captions.csv");
/** Is there when all else is. */
const ready = join(work, "ready");
const tars = join(work, "tars");

if (values.make !== undefined) {
  // Each maker has a folder of its own, and a number that its pictures follow from.
  const count = Math.ceil(different / availableParallelism());
  await makePhotos(join(work, `made-${values.make}`), { name: `feed ${values.make}`, width: 500, height: 375, count, grain: 0.06 });
} else {
  if (!existsSync(ready)) await prepare();
  print(await measure());
}

/** Makes pictures, their copies, the table and the tars. */
async function prepare(): Promise<void> {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(images, { recursive: true });
  const makers = Array.from({ length: availableParallelism() }, (_, number) => {
    const args = [self, "--work", values.work, "--pictures", values.pictures, "--different", values.different, "--make", String(number)];
    return spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, UV_THREADPOOL_SIZE: "1" } });
  });
  for (const [code] of await Promise.all(makers.map((maker) => once(maker, "exit")))) {
    if (code !== 0) throw new Error(`making pictures ended with code ${String(code)}`);
  }
  const made = makers.flatMap((_, number) => readdirSync(join(work, `made-${number}`)).map((name) => join(work, `made-${number}`, name)));
  const words = ["dog", "red", "house", "sea", "tree", "sun", "car", "a", "of", "with", "old", "blue", "cat", "man", "green", "bird"];
  const lines = Array.from({ length: pictures }, (_, i) => {
    const random = Random.of("feed", i);
    copyFileSync(made[i % made.length]!, join(images, `${i}.jpg`));
    const caption = Array.from({ length: 6 + random.integer(14) }, () => words[random.integer(words.length)]).join(" ");
    return csvLine([String(i), `images/${i}.jpg`, caption]);
  });
  writeFileSync(table, csvLine(["id", "image", "caption"]) + lines.join(""));
  laclip(["data", "pack", table, "--out", tars, "--samples-per-shard", String(Math.ceil(pictures / 8)), "--no-decode", "-q"]);
  writeFileSync(ready, "");
}

/** What the loader gives alone, and a run that is ended after its steps. */
async function measure(): Promise<object> {
  const data = values.from === "tars" ? tars : table;
  const alone = JSON.parse(laclip(["data", "bench", data, "--json", "--batch-size", String(Math.min(256, batch)), "--seconds", "1"])) as {
    stages: { stage: string; perSecond: number }[];
    bytes: number;
    processors: number;
  };
  const out = join(work, `run-${values.from}-${batch}`);
  rmSync(out, { recursive: true, force: true });
  const settings = {
    "model.preset": values.preset,
    "training.precision": values.precision,
    "training.batchSize": batch,
    // Longer than it is watched, and shorter than what jumps are looked for in.
    "training.steps": 999,
    "training.warmupSteps": 100,
    "training.checkpointEvery": 100_000,
    "training.logEvery": 5,
  };
  const run = spawn(
    process.execPath,
    [main, "train", "clip-vit-b-16", "--data", data, "--out", out, "--device", values.device, ...set(settings)],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const events = await watched(run, join(out, "events.jsonl"));
  const seen = events.filter(({ event, step }) => event === "train" && step > warmup && step <= warmup + steps);
  const mean = (name: string): number => seen.reduce((sum, event) => sum + Number(event[name]), 0) / seen.length;
  const stepSeconds = mean("train/batch_time");
  const split = events.findLast(({ event }) => event === "split");
  const { libjpeg } = imageEngine();
  const file = statSync(join(images, "0.jpg")).size;
  rmSync(out, { recursive: true, force: true });
  return {
    program: "laclip train",
    ...values,
    gpu: String(events.find(({ event }) => event === "start")?.["device"]),
    processors: alone.processors,
    decoder: libjpeg === null ? "sharp" : `libjpeg-turbo ${libjpeg}`,
    kilobytes: (alone.bytes || file) / 1000,
    imagesPerSecond: batch / stepSeconds,
    median: stepSeconds,
    waiting: mean("train/data_time") / stepSeconds,
    loaderAlone: alone.stages.find(({ stage }) => stage === "loader")?.perSecond,
    stages: alone.stages,
    "train/tflops": mean("train/tflops"),
    ...(seen[0]?.["train/mfu"] === undefined ? {} : { "train/mfu": mean("train/mfu") }),
    ...(seen[0]?.["train/device_memory"] === undefined ? {} : { memory: { peak: seen.at(-1)!["train/device_memory"] } }),
    ...(split === undefined ? {} : { micro: String(split["microBatch"]), recompute: split["recomputeBlocks"] }),
  };
}

/** The events of a run up to the last step that is looked at; the run is ended then. */
async function watched(run: ChildProcess, path: string): Promise<RunEvent[]> {
  let said = "";
  run.stderr!.on("data", (chunk) => (said = (said + String(chunk)).slice(-2000)));
  const ended = once(run, "exit");
  for (;;) {
    const events = existsSync(path) ? readEvents(path) : [];
    if (events.some(({ event, step }) => event === "train" && step >= warmup + steps)) {
      run.kill("SIGKILL");
      await ended;
      return events;
    }
    if (run.exitCode !== null || run.signalCode !== null)
      throw new Error(`training ended before its step ${warmup + steps}: ${said.trim()}`);
    await sleep(100);
  }
}

function laclip(args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`laclip ${args[0]} ${args[1]} ended with code ${status}: ${stderr.trim()}`);
  return stdout;
}

function set(settings: Record<string, string | number>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
}

function print(found: object): void {
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
