/**
 * The demo's world as the rest of the program sees it: a table of pairs, a rewrites folder that belongs to it, a labelled folder.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { joinRewrites, openLabelledFolder, openLoader, openPairs, originalSource } from "../../src/data/index.ts";
import {
  type EmojiWorld,
  buildEmojiWorld,
  humanSources,
  humanTexts,
  provenances,
  worldPictures,
  writeHumanRewrites,
  writeReport,
} from "../../src/demo/index.ts";
import { setLogLevel } from "../../src/support/index.ts";

setLogLevel("quiet");
const scratch = mkdtempSync(join(tmpdir(), "laclip-demo-world-"));
after(() => rmSync(scratch, { recursive: true }));

let world: EmojiWorld;
let human: string;
before(async () => {
  world = await buildEmojiWorld({ out: scratch, limit: 40 });
  human = await writeHumanRewrites(world, join(scratch, "rewrites", "human"));
});

test("every row of train.csv is a pair, and every pair gets its four human texts by id", async () => {
  const pairs = await openPairs({ file: world.trainCsv, maximumSkipped: 0 });
  assert.equal(pairs.samples.length, world.samples.length);
  const joined = await joinRewrites(pairs, human, { minimumMatched: 1 });
  assert.deepEqual(joined.rewrites.sources, [...humanSources]);
  assert.equal(joined.rewrites.matched, world.samples.length);
  assert.equal(joined.rewrites.foreign + joined.rewrites.unusable, 0);
  world.samples.forEach((expected, row) => {
    const sample = joined.samples.at(row);
    assert.equal(sample.id, expected.id);
    assert.equal(sample.image, expected.image);
    const texts = humanTexts(expected.id, expected.concept).map(({ source, text }) => ({ source, text }));
    assert.deepEqual(sample.captions, [{ source: originalSource, text: expected.caption }, ...texts]);
  });
});

test("batches of the world draw from all its texts, with the pictures decoded", async () => {
  const pairs = await joinRewrites(await openPairs({ file: world.trainCsv }), human);
  const loader = openLoader({ samples: pairs, totalSteps: 12, batchSize: 30, imageSize: 48, seed: 0, choose: "uniform" });
  const drawn = new Set<string>();
  try {
    for await (const batch of loader) {
      assert.equal(batch.images.length, 30 * 48 * 48 * 3);
      assert.ok(batch.images.some((value) => value < 128));
      for (const source of batch.sources) drawn.add(source);
    }
  } finally {
    await loader.close();
  }
  assert.deepEqual([...drawn].sort(), [...humanSources, originalSource].sort());
});

test("the held-out style is a labelled folder whose classes all have names in own and in other words", () => {
  const folder = openLabelledFolder(world.heldOut.folder);
  assert.deepEqual(folder.folders, world.concepts.map(({ hexcode }) => hexcode).sort());
  assert.deepEqual(folder.templates, ["{}"]);
  assert.equal(folder.items.length, world.concepts.length);
  for (const { path } of folder.items) assert.equal(basename(path), "twemoji.png");
  for (const words of [world.heldOut.ownWords, world.heldOut.otherWords]) {
    const names = JSON.parse(readFileSync(words, "utf8")) as Record<string, string[]>;
    assert.deepEqual(Object.keys(names).sort(), folder.folders);
    for (const texts of Object.values(names)) assert.ok(texts.length > 0 && texts.every((text) => text.trim() !== ""));
  }
});

test("the report shows the world's pictures and names every package it is drawn from", () => {
  const pictures = worldPictures(world);
  const [first, second] = [pictures[0]!, pictures[1]!];
  const evaluations = { ownWords: { top1: 0.1, top5: 0.3 }, otherWords: { top1: 0.01, top5: 0.03 } };
  const run = { seed: 0, steps: 1, seconds: 1, lossCurve: [], evaluations };
  const files = writeReport(scratch, {
    created: new Date().toISOString(),
    command: "laclip demo",
    world: { concepts: pictures.length, trainingImages: world.samples.length, trainingStyles: ["OpenMoji"], heldOutStyle: "Twemoji" },
    model: { description: "none", imageSize: 48, batch: 1 },
    rewriter: { label: "EDA", isLanguageModel: false, why: "" },
    methods: [{ name: "clip", label: "CLIP", texts: "the name", role: "baseline", seeds: [run] }],
    pictures,
    examples: [{ hexcode: second.hexcode, rewrites: [{ label: "people", texts: ["in other words"] }] }],
    environment: world.packages,
    licences: Object.values(provenances),
  });
  const page = readFileSync(files.html, "utf8");
  assert.equal(first.training.length, 3);
  for (const path of [first.image, second.training[2]!.image]) {
    assert.ok(page.includes(readFileSync(path).toString("base64")), `${path} is not in the report`);
  }
  for (const { package: name, licenceUrl } of Object.values(provenances)) {
    assert.ok(page.includes(name) && page.includes(licenceUrl));
    assert.ok(page.includes(world.packages[name]!));
  }
});
