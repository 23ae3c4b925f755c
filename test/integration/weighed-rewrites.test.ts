/**
 * Rewrites held against their images, from the command line to the texts that a run draws: a real model folder, real image files,
 * processes of their own.
 */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { RewritesWriter, chooseCaptions, isUsable, joinRewrites, openPairs, openRewritesFolder } from "../../src/data/index.ts";
import type { Rewrite } from "../../src/data/index.ts";
import { ImageTextScorer } from "../../src/evaluation/index.ts";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../src/models/index.ts";
import type { CheckSummary, RewritesStatistics } from "../../src/rewriting/index.ts";
import { readEvents } from "../../src/training/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { rewritesIn } from "./rewrites-in.ts";
import { writeTar } from "./tar-files.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-weighed-"));
after(() => rmSync(root, { recursive: true }));
const [captions, model, rewrites] = [join(root, "captions.csv"), join(root, "model"), join(root, "rewrites")];
const colours = ["red", "green", "blue", "yellow", "black", "white", "grey", "purple"];
const id = (colour: string): string => `the-${colour}-one`;
const sources = ["one", "two", "three"];
const textOf = (colour: string, source: string): string =>
  ({ one: `${colour} it is, all of it`, two: `nothing but the colour ${colour}`, three: `a wall, painted ${colour}, in summer` })[source]!;

before(async () => {
  const rows = ["id,image,caption"];
  for (const background of colours) {
    const picture = sharp({ create: { width: 24, height: 20, channels: 3, background } });
    await picture.png().toFile(join(root, `${background}.png`));
    rows.push(`${id(background)},${background}.png,a picture of ${background}`);
  }
  writeFileSync(captions, `${rows.join("\n")}\n`);
  const clip = new Clip(preset("nano"), { seed: 5 });
  saveModel(model, { model: clip, preprocessing: imagenetPreprocessing });
  clip.dispose();
  const made = { engine: "people", model: "", modelHash: "", promptHash: "", provenance: "a test", sampling: {}, seed: 1 };
  const { fingerprint } = await openPairs({ file: captions });
  const writer = await RewritesWriter.open(rewrites, {
    dataset: "captions.csv",
    fingerprint,
    sources: Object.fromEntries(sources.map((source) => [source, made])),
    createdWith: "test",
  });
  for (const colour of colours) {
    const rest = { flags: [], finish: "none", tokens: 0, seed: 1, examples: [] };
    await writer.append(sources.map((source) => ({ id: id(colour), source, text: textOf(colour, source), ...rest })));
  }
  await writer.finish();
});

const laclip = async (...args: string[]): Promise<Ended> => await runLaclip(args);

async function check(name: string, ...flags: string[]): Promise<{ summary: CheckSummary; rows: Map<string, Rewrite> }> {
  const out = join(root, name);
  const { code, stdout, stderr } = await laclip("rewrites", "check", rewrites, "--captions", captions, "--out", out, "--json", ...flags);
  assert.equal(code, 0, stderr);
  return { summary: JSON.parse(stdout) as CheckSummary, rows: await rowsOf(out) };
}

const rowsOf = async (path: string): Promise<Map<string, Rewrite>> =>
  new Map((await rewritesIn(path)).map((rewrite) => [`${rewrite.id} ${rewrite.source}`, rewrite]));

/** s - s0 of each rewrite. */
async function differences(): Promise<Map<string, number>> {
  const cosines = await cosinesOf();
  const keys = colours.flatMap((colour) => sources.map((source) => [`${id(colour)} ${source}`, `${id(colour)} original`] as const));
  return new Map(keys.map(([key, original]) => [key, cosines.get(key)! - cosines.get(original)!]));
}

/** The cosine of each image and text, computed here, one image at a time. */
async function cosinesOf(): Promise<Map<string, number>> {
  const { loadModel } = await import("../../src/models/index.ts");
  const loaded = loadModel(model);
  const scorer = new ImageTextScorer(loaded, "nano", "", { batchSize: 1 });
  const found = new Map<string, number>();
  for (const colour of colours) {
    const texts = [`a picture of ${colour}`, ...sources.map((source) => textOf(colour, source))];
    const [score] = await scorer.score([{ image: join(root, `${colour}.png`), texts }]);
    assert.ok("cosines" in score!);
    for (const [i, source] of ["original", ...sources].entries()) found.set(`${id(colour)} ${source}`, score.cosines[i]!);
  }
  loaded.model.dispose();
  return found;
}

test("each policy does with the model's cosines what its formula says", async () => {
  const fit = await differences();
  const delta = -[...fit.values()].toSorted((a, b) => a - b)[8]!;
  assert.ok(delta > 0, "a third of the rewrites fit less well than their caption");
  const kept = await check("kept", "--model", model, "--policy", "keep", "--delta", String(delta - 1e-4));
  for (const [key, rewrite] of kept.rows) assert.equal(isUsable(rewrite), fit.get(key)! >= -(delta - 1e-4), key);
  assert.equal(kept.summary.images!.rejected, 9);
  assert.equal(kept.summary.images!.compared, 24);

  const best = await check("best", "--model", model, "--policy", "best-of", "--best", "1");
  for (const colour of colours) {
    const own = sources.map((source) => `${id(colour)} ${source}`);
    const first = own.toSorted((a, b) => fit.get(b)! - fit.get(a)!)[0]!;
    for (const key of own) assert.equal(isUsable(best.rows.get(key)!), key === first, key);
  }

  const weighed = await check("weighed", "--model", model, "--policy", "down-weight", "--softness", "0.02");
  for (const [key, { weight = 1, flags }] of weighed.rows) {
    assert.ok(Math.abs(weight - Math.max(1e-4, Math.min(1, Math.exp(fit.get(key)! / 0.02)))) < 1e-3, key);
    assert.deepEqual(flags, []);
  }
  assert.ok(new Set([...weighed.rows.values()].map(({ weight }) => weight)).size > 5);
  const { stdout } = await laclip("rewrites", "stats", join(root, "weighed"), "--json");
  const { sources: statistics } = JSON.parse(stdout) as RewritesStatistics;
  assert.ok(statistics.every(({ meanWeight, made }) => meanWeight < 1 && made.images!["policy"] === "down-weight"));
});

test("images that lie in a parquet file or in tars are looked at there, whatever stands beside under their names", async () => {
  const fit = await differences();
  const inside = join(root, "inside");
  mkdirSync(inside);
  const [parquet, tar] = [join(inside, "held.parquet"), join(inside, "plain.tar")];
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const connection = await (await DuckDBInstance.create()).connect();
  const rows = colours.map((colour) => `('${id(colour)}', '${colour}')`).join(", ");
  const columns = `id, {'bytes': content, 'path': colour || '.png'} AS image, 'a picture of ' || colour AS caption`;
  const files = `read_blob('${root}/*.png') files ON files.filename = '${root}/' || colour || '.png'`;
  await connection.run(`COPY (SELECT ${columns} FROM (VALUES ${rows}) rows(id, colour) JOIN ${files}) TO '${parquet}'`);
  connection.closeSync();
  // Another picture of that name, which a path would lead to.
  for (const colour of colours) copyFileSync(join(root, "red.png"), join(inside, `${colour}.png`));
  const members = colours.flatMap((colour): [string, string | Buffer][] => [
    [`${id(colour)}.png`, readFileSync(join(root, `${colour}.png`))],
    [`${id(colour)}.txt`, `a picture of ${colour}`],
  ]);
  await writeTar(tar, members);
  writeFileSync(`${tar}.gz`, gzipSync(readFileSync(tar)));
  const ofCaptions = [...(await cosinesOf())].filter(([key]) => key.endsWith(" original")).map(([, cosine]) => cosine);
  const mean = ofCaptions.reduce((sum, cosine) => sum + cosine) / ofCaptions.length;
  for (const [i, file] of [parquet, tar, `${tar}.gz`].entries()) {
    const given = ["--captions", file, "--model", model];
    const { summary, rows: kept } = await check(`inside-${i}`, ...given);
    assert.deepEqual([summary.images!.images, summary.images!.unreadable, summary.images!.compared], [8, 0, 24], file);
    for (const [key, rewrite] of kept) assert.ok(Math.abs(rewrite.fit! - fit.get(key)!) < 1e-4, `${file}: ${key}`);
    await check(`inside-mean-${i}`, ...given, "--policy", "weigh-pairs");
    const { manifest } = await openRewritesFolder(join(root, `inside-mean-${i}`));
    assert.ok(Math.abs(Number(manifest.sources["one"]!.images!["mean"]) - mean) < 1e-4, file);
  }
});

test("training draws the texts of a sample in proportion to their weights", async () => {
  if (!existsSync(join(root, "weighed"))) await check("weighed", "--model", model, "--policy", "down-weight", "--softness", "0.02");
  const { samples } = await joinRewrites(await openPairs({ file: captions }), join(root, "weighed"));
  for (let row = 0; row < samples.length; row++) {
    const sample = samples.at(row);
    const total = sample.captions.reduce((sum, { weight = 1 }) => sum + weight, 0);
    const draws = 4000;
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < draws; epoch++) {
      const source = chooseCaptions(sample, { seed: 1, epoch, choose: "uniform" })[0]!.source;
      counts.set(source, (counts.get(source) ?? 0) + 1);
    }
    for (const { source, weight = 1 } of sample.captions) {
      const share = weight / total;
      const deviation = Math.sqrt(draws * share * (1 - share));
      const off = Math.abs((counts.get(source) ?? 0) - draws * share);
      assert.ok(off < 4.5 * deviation + 1, `${sample.id} ${source}: ${counts.get(source)} of ${draws}, expected ${draws * share}`);
    }
  }
  const out = join(root, "run");
  const settings = ["model.preset=nano", "training.batchSize=8", "training.warmupSteps=2", "training.steps=4", "training.logEvery=1"];
  const flags = settings.flatMap((setting) => ["--set", setting]);
  const run = await laclip("train", "emoji-laclip", "--data", captions, "--rewrites", join(root, "weighed"), "--out", out, ...flags);
  assert.equal(run.code, 0, run.stderr);
  assert.ok(readEvents(join(out, "events.jsonl")).length > 0);
  // The same rewrites with other weights are other data.
  const other = await laclip("train", "emoji-laclip", "--data", captions, "--rewrites", rewrites, "--out", out, ...flags);
  assert.equal(other.code, 2, other.stderr);
  assert.match(other.stderr, /rewrites/);
});

test("pairs are weighed by how far they fall short of the mean caption, the captions too; the loss of a run goes by it", async () => {
  const cosines = await cosinesOf();
  const mean = colours.reduce((sum, colour) => sum + cosines.get(`${id(colour)} original`)!, 0) / colours.length;
  const expected = (key: string, softness: number): number => Math.max(1e-4, Math.min(1, Math.exp((cosines.get(key)! - mean) / softness)));
  const { summary, rows } = await check("pairs", "--model", model, "--policy", "weigh-pairs", "--softness", "0.2");
  for (const [key, { id: own, weight = 1, captionWeight }] of rows) {
    assert.ok(Math.abs(weight - expected(key, 0.2)) < 1e-3, key);
    assert.ok(Math.abs(captionWeight! - expected(`${own} original`, 0.2)) < 1e-3, own);
  }
  const ofCaptions = colours.map((colour) => rows.get(`${id(colour)} one`)!.captionWeight!);
  assert.ok(new Set(ofCaptions).size > 3 && Math.max(...ofCaptions) === 1, ofCaptions.join(", "));
  assert.ok(summary.images!.meanCaptionWeight < 1);

  // Another softness needs no model, and is held against the same mean.
  const flags = ["rewrites", "check", join(root, "pairs"), "--captions", captions, "--json", "--policy", "weigh-pairs"];
  const again = await laclip(...flags, "--out", join(root, "pairs-again"));
  assert.equal(again.code, 0, again.stderr);
  for (const [key, { weight = 1 }] of await rowsOf(join(root, "pairs-again"))) assert.ok(Math.abs(weight - expected(key, 0.5)) < 1e-3, key);
  const images = (await openRewritesFolder(join(root, "pairs-again"))).manifest.sources["one"]!.images!;
  assert.ok(Math.abs(Number(images["mean"]) - mean) < 1e-4);
  assert.equal((await laclip(...flags, "--out", join(root, "pairs-again"))).code, 0, "the same again goes on where it was");

  // From the folder to the loss: as a table, and read from front to back out of tars.
  const { samples } = await joinRewrites(await openPairs({ file: captions }), join(root, "pairs"));
  for (let row = 0; row < samples.length; row++) {
    const [original, ...others] = samples.at(row).captions;
    assert.ok(Math.abs((original!.weight ?? 1) - rows.get(`${samples.id(row)} one`)!.captionWeight!) < 1e-6);
    assert.equal(others.length, 3);
  }
  assert.equal((await laclip("data", "pack", captions, "--rewrites", join(root, "pairs"), "--out", join(root, "tars"))).code, 0);
  const losses = async (name: string, data: string, ...more: string[]): Promise<number[]> => {
    const settings = ["model.preset=nano", "training.batchSize=8", "training.warmupSteps=2", "training.steps=4", "training.logEvery=1"];
    const all = [...settings, "captions.weighing=loss"].flatMap((setting) => ["--set", setting]);
    const run = await laclip("train", "emoji-clip", "--data", data, "--out", join(root, name), ...all, ...more);
    assert.equal(run.code, 0, run.stderr);
    return readEvents(join(root, name, "events.jsonl")).flatMap(({ event, ...measures }) =>
      event === "train" ? [Number(measures["train/loss"])] : [],
    );
  };
  const plain = await losses("clip-plain", captions);
  const weighed = await losses("clip-weighed", captions, "--rewrites", join(root, "pairs"));
  assert.ok(weighed[0]! < 0.95 * plain[0]!, `${weighed[0]}, plain ${plain[0]}: pairs that fit badly count less, for CLIP too`);
  assert.equal((await losses("clip-tars", join(root, "tars")))[0], weighed[0]);
  // Tars hold the captions' weights as well; LaCLIP's choice is drawn from them.
  const uniform = ["--set", "captions.choose=uniform"];
  const table = await losses("laclip-table", captions, "--rewrites", join(root, "pairs"), ...uniform);
  assert.deepEqual(await losses("laclip-tars", join(root, "tars"), ...uniform), table);
  const shards = ["--set", "data.order=shards", "--set", "data.shuffle=8"];
  const [own, folder] = [
    await losses("laclip-shards", join(root, "tars"), ...uniform, ...shards),
    await losses("laclip-shards-folder", join(root, "tars"), "--rewrites", join(root, "pairs"), ...uniform, ...shards),
  ];
  assert.deepEqual(folder, own);
});

test("an image that can't be read is an error, or stays as it is where that is allowed", async () => {
  writeFileSync(join(root, "red.png"), readFileSync(join(root, "red.png")).subarray(0, 30));
  const flags = ["rewrites", "check", rewrites, "--captions", captions, "--model", model];
  const refused = await laclip(...flags, "--out", join(root, "refused"));
  assert.equal(refused.code, 3, refused.stderr);
  assert.match(refused.stderr, /1 of 8 images can't be read.*red\.png/s);
  const { summary, rows } = await check("allowed", "--model", model, "--policy", "best-of", "--best", "1", "--max-skipped", "0.2");
  assert.deepEqual([summary.images!.images, summary.images!.unreadable], [7, 1]);
  assert.deepEqual(
    sources.map((source) => rows.get(`${id("red")} ${source}`)!.flags),
    [[], [], []],
  );
});

test("checks can be set where rewrites are written, and the folder says how they were", async () => {
  const out = join(root, "strict");
  const flags = ["--check", "too-short=50", "--check", "same-as-caption=off", "--retries", "1"];
  const { code, stdout, stderr } = await laclip("rewrite", captions, "--out", out, "--llm", "eda", "--json", ...flags);
  assert.equal(code, 0, stderr);
  const { written, rejected } = JSON.parse(stdout) as { written: number; rejected: number };
  assert.deepEqual([written, rejected], [8, 8]);
  const { checks, retries } = (await openRewritesFolder(out)).manifest.sources["eda"]!;
  assert.deepEqual(
    [checks!["too-short"], checks!["same-as-caption"], retries],
    [{ verdict: "reject", limit: [50] }, { verdict: "off" }, 1],
  );
});

test("flags that say nothing are refused before anything is read", async () => {
  const flags = ["rewrites", "check", rewrites, "--captions", captions, "--out", join(root, "none")];
  for (const [more, says] of [
    [["--delta", "0.1"], /a model or a policy is needed/],
    [["--policy", "keep"], /never held against their images/],
    [["--model", model, "--policy", "best-of", "--delta", "0.1"], /--delta says nothing to --policy best-of/],
    [["--model", model, "--policy", "worst-of"], /Expected one of: keep, best-of, down-weight, weigh-pairs/],
    [["--check", "too-short"], /expected NAME=VALUE/],
  ] as const) {
    const { code, stderr } = await laclip(...flags, ...more);
    assert.equal(code, 2, stderr);
    assert.match(stderr, says);
  }
  assert.ok(!existsSync(join(root, "none")));
});
