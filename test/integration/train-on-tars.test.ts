/**
 * From a table to tars and from the tars to a trained model, by the command line: the same losses as from the files that were packed.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { Random } from "../../src/support/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-tars-"));
after(() => rmSync(root, { recursive: true }));
const data = join(root, "data");
const rewrites = join(root, "rewrites");
const shards = join(root, "shards");

const laclip = async (...args: string[]): Promise<Ended> => await laclipWith({}, ...args);

async function laclipWith(more: Record<string, string>, ...args: string[]): Promise<Ended> {
  return await runLaclip(args, { env: { XDG_CACHE_HOME: join(root, "cache"), no_proxy: "127.0.0.1", ...more } });
}

async function train(out: string, from: string, ...args: string[]): Promise<{ losses: number[]; stderr: string; rewritten: number }> {
  const settings = ["model.preset=nano", "training.batchSize=8", "training.warmupSteps=2", "training.logEvery=1", "training.steps=8"];
  const flags = settings.flatMap((setting) => ["--set", setting]);
  const { code, stderr } = await laclip("train", "emoji-laclip", "--data", from, "--out", join(root, out), ...flags, ...args);
  assert.equal(code, 0, stderr);
  const events = readFileSync(join(root, out, "events.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, number | string>);
  const steps = events.filter(({ event }) => event === "train");
  const losses = steps.map((event) => event["train/loss"] as number);
  return { losses, stderr, rewritten: steps.reduce((sum, event) => sum + (event["train/rewritten"] as number), 0) / steps.length };
}

before(async () => {
  mkdirSync(join(data, "images"), { recursive: true });
  const rows = ["id,image,caption"];
  for (let i = 0; i < 45; i++) {
    const random = Random.of("picture", i);
    const [width, height] = [30 + random.integer(80), 30 + random.integer(80)];
    const pixels = Uint8Array.from({ length: width * height * 3 }, (_, k) => (k % 3 === i % 3 ? 200 : random.integer(90)));
    const name = `images/${i}.${i % 3 === 0 ? "png" : "jpg"}`;
    await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(join(data, name));
    rows.push(`a/${i}.x,${name},"picture ${i}, of some thing number ${i % 7}"`);
  }
  writeFileSync(join(data, "captions.csv"), `${rows.join("\n")}\n`);
  const written = await laclip("rewrite", data, "--out", rewrites, "--llm", "eda");
  assert.equal(written.code, 0, written.stderr);
  const packed = await laclip(
    "data",
    "pack",
    data,
    "--rewrites",
    rewrites,
    "--min-matched",
    "0",
    "--out",
    shards,
    "--samples-per-shard",
    "12",
  );
  assert.equal(packed.code, 0, packed.stderr);
});

test("tars that were mixed when they were packed are trained on as the table is: the same losses", async () => {
  const table = await train("table", data, "--rewrites", rewrites, "--min-matched", "0");
  const tars = await train("tars", shards, "--min-matched", "0");
  assert.equal(table.losses.length, 8);
  assert.ok(table.rewritten > 0.3);
  assert.deepEqual(tars.losses, table.losses);
  const own = await train("tars-and-rewrites", join(shards, "{00000..00003}.tar"), "--rewrites", rewrites, "--min-matched", "0");
  assert.deepEqual(own.losses, table.losses);
});

test("the same tars from front to back: other batches, one order; a run that is stopped goes on with it", async () => {
  const streamed = ["--set", "data.order=shards", "--set", "data.shuffle=16", "--min-matched", "0"];
  const whole = await train("streamed", shards, ...streamed);
  assert.match(whole.stderr, /45 samples in 4 tars, read from front to back/);
  assert.ok(whole.rewritten > 0.3);
  const again = await train("streamed-again", shards, ...streamed);
  assert.deepEqual(again.losses, whole.losses);
  // Checkpoints of the first run, without its end, are what a kill after step 4 leaves.
  const steps = ["--set", "training.checkpointEvery=4"];
  await train("streamed-kept", shards, ...streamed, ...steps);
  rmSync(join(root, "streamed-kept", "model"), { recursive: true });
  rmSync(join(root, "streamed-kept", "checkpoints", "step-00000008"), { recursive: true });
  const resumed = await train("streamed-kept", shards, ...streamed, ...steps);
  assert.match(resumed.stderr, /Going on from step 4/);
  assert.deepEqual(resumed.losses, whole.losses);
});

test("a run records how long it waited for batches, and warns when that is much of its time", async () => {
  const flags = ["model.preset=nano", "training.batchSize=8", "training.logEvery=1", "training.steps=24", "training.warmupSteps=2"].flatMap(
    (set) => ["--set", set],
  );
  const out = join(root, "waiting");
  const args = ["train", "emoji-laclip", "--data", shards, "--out", out, "--min-matched", "0", ...flags];
  // A batch that comes much later than the steps before it took together.
  const { code, stderr } = await laclipWith({ LACLIP_FAULTS: "slow-batch@22=2000" }, ...args);
  assert.equal(code, 0, stderr);
  const steps = readFileSync(join(out, "events.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, number | string>)
    .filter(({ event }) => event === "train");
  assert.equal(steps.length, 24);
  for (const step of steps) {
    const [waited, took] = [step["train/data_time"] as number, step["train/batch_time"] as number];
    assert.ok(waited >= 0 && waited <= took, JSON.stringify(step));
  }
  assert.match(stderr, /The loader is the limit: \d+ % of the time .* `laclip data bench`/);
});

test("texts are drawn from the keys that are named, as with open_clip", async () => {
  const keys = ["--json-text-key", "caption;caption_eda", "--json-text-key-probs", "0", "1"];
  const { rewritten } = await train("keys", shards, ...keys, "--min-matched", "0");
  assert.ok(rewritten > 0.8, String(rewritten));
  const first = await train("first-key", shards, "--json-text-key", "caption_eda;caption", "--min-matched", "0");
  assert.equal(first.rewritten, 0, "the first that there is counts as the caption");
  const single = await train("one-key", shards, "--json-text-key", "caption_eda", "--max-skipped", "0.9");
  assert.equal(single.rewritten, 0, "a single key leaves nothing to draw from");
});

test("a list of tars in a text file; names that no sample has are told of; a run does not go on with other texts", async () => {
  const list = join(root, "tars.txt");
  writeFileSync(list, ["00000", "00001", "00002", "00003"].map((name) => `shards/${name}.tar\n`).join(""));
  const streamed = ["--set", "data.order=shards", "--min-matched", "0", "--set", "captions.choose=weighted"];
  const weights = ["--set", 'captions.weights={"original":1,"bart":1}'];
  const { stderr, rewritten } = await train("listed", list, ...streamed, ...weights);
  assert.match(stderr, /asks for captions from "bart", and the data have none; they have original, eda/);
  assert.equal(rewritten, 0);
  rmSync(join(root, "listed", "model"), { recursive: true });
  const settings = ["model.preset=nano", "training.batchSize=8", "training.warmupSteps=2", "training.logEvery=1", "training.steps=8"];
  const flags = [...settings.flatMap((setting) => ["--set", setting]), ...streamed, ...weights];
  const other = await laclip(
    "train",
    "emoji-laclip",
    "--data",
    list,
    "--out",
    join(root, "listed"),
    ...flags,
    "--caption-column",
    "caption",
  );
  assert.equal(other.code, 2, other.stderr);
  assert.match(other.stderr, /caption/);
});

test("what does not fit is refused before anything is trained", async () => {
  const refused: [args: string[], code: number, reason: RegExp][] = [
    [["--data", data], 2, /no rewrites folder was given/],
    [["--data", join(root, "nowhere")], 3, /nowhere: no such file or folder/],
    [["--data", data, "--json-text-key", "caption"], 2, /text keys are for tars/],
    [["--data", shards, "--json-text-key", "a;b", "--json-text-key-probs", "1"], 2, /2 keys, and --json-text-key-probs 1 weights/],
    [["--data", shards, "--caption-column", "nothing"], 3, /45 of 45 samples \(100 %\) can't be used: 45 without a caption/],
    [["--data", shards, "--caption-column", "nothing", "--set", "data.order=shards"], 3, /none of the first 45 samples can be used/],
    [["--data", join(shards, "{00000..00009}.tar")], 3, /6 of 10 tars are missing/],
    [["--data", shards, "--set", "captions.choose=weighted"], 2, /no weights were given/],
    [
      ["--data", shards, "--set", "captions.choose=weighted", "--set", 'captions.weights={"original":1,"bart":1}', "--min-matched", "0"],
      2,
      /captions from "bart", and the data have none/,
    ],
    [
      [
        "--data",
        shards,
        "--rewrites",
        rewrites,
        ...["data.order=shards", "captions.choose=weighted", 'captions.weights={"bart":1}'].flatMap((setting) => ["--set", setting]),
        "--min-matched",
        "0",
      ],
      2,
      /captions from "bart", and the data have none/,
    ],
    [["--data", shards, "--set", "data.order=table", "--set", "data.samplesPerEpoch=16"], 2, /can't be drawn from with replacement/],
    [["--data", "pipe:cat x.tar"], 2, /commands are not run/],
  ];
  for (const [args, code, reason] of refused) {
    const out = join(root, "refused");
    const ended = await laclip(
      "train",
      "emoji-laclip",
      "--out",
      out,
      "--set",
      "model.preset=nano",
      "--set",
      "training.batchSize=8",
      ...args,
    );
    assert.equal(ended.code, code, ended.stderr);
    assert.match(ended.stderr, reason);
    assert.ok(!existsSync(out), "no run folder is left behind");
  }
});

test(
  "photos of clothing: packed and trained on, the same losses",
  { skip: sharedPhotos() === undefined && "../shared/data is not here" },
  async () => {
    const photos = sharedPhotos()!;
    const out = join(root, "clothing");
    const packed = await laclip("data", "pack", photos, "--caption", "a photo of {class}", "--out", out, "--samples-per-shard", "700");
    assert.equal(packed.code, 0, packed.stderr);
    const csv = join(root, "clothing.csv");
    const inspected = JSON.parse(readFileSync(join(out, "laclip.index.json"), "utf8")) as { samples: number };
    assert.ok(inspected.samples > 300);
    const { openCollection } = await import("../../src/curation/index.ts");
    const { pairs } = await openCollection({ path: photos, caption: "a photo of {class}" });
    const rows = Array.from({ length: pairs.samples.length }, (_, row) => pairs.samples.at(row)).map(
      ({ id, image, captions }) => `${id},${image as string},${captions[0]!.text}`,
    );
    writeFileSync(csv, `id,image,caption\n${rows.join("\n")}\n`);
    const original = ["--set", "captions.choose=original"];
    const table = await train("clothing-table", csv, ...original);
    const tars = await train("clothing-tars", out, ...original);
    assert.deepEqual(tars.losses, table.losses);
  },
);

function sharedPhotos(): string | undefined {
  const folder = fileURLToPath(new URL("../../../../shared/data/clothing10/test", import.meta.url));
  return existsSync(folder) ? folder : undefined;
}
