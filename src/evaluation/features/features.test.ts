import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import sharp from "sharp";
import { Clip, byteImages, imagenetPreprocessing, normalizeImages, preset } from "../../models/index.ts";
import { DataError, InterruptedError } from "../../support/index.ts";
import { noGrad, ops, scope, setThreads } from "../../torch/index.ts";
import { evaluationBatches } from "../../data/index.ts";
import { type FeatureModel, FeatureStore, type ImageFeatures, imageFeatures, textFeatures } from "./index.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-features-"));
const model = new Clip(preset("nano"), { seed: 3 });
const loaded: FeatureModel = { model, preprocessing: imagenetPreprocessing, hash: "weights of this test" };
const items = Array.from({ length: 23 }, (_, i) => ({ path: join(root, "images", `${i}.png`), label: i % 3 }));
const size = model.config.vision.imageSize;

/** What a model does to the images, without any store. */
async function direct(list = items): Promise<{ token: Float32Array; joint: Float32Array }> {
  const batches = evaluationBatches(list, { size, interpolation: "bilinear", batchSize: 100 });
  const { value } = await batches.next();
  await batches.close();
  return noGrad(() =>
    scope(() => {
      const pixels = normalizeImages(byteImages(value!.images, value!.labels.length, size, imagenetPreprocessing));
      return { token: model.imageFeatures(pixels).toFloat32Array(), joint: model.encodeImages(pixels).toFloat32Array() };
    }),
  );
}

function near(a: Float32Array, b: Float32Array): void {
  assert.equal(a.length, b.length);
  a.forEach((value, i) => assert.ok(Math.abs(value - b[i]!) < 1e-4));
}

/** Calls of the image tower while `body` runs. */
async function passes(body: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const own = model.imageFeatures.bind(model);
  model.imageFeatures = (images) => {
    count++;
    return own(images);
  };
  try {
    await body();
  } finally {
    model.imageFeatures = own;
  }
  return count;
}

describe("features of images", () => {
  setThreads(1);
  before(async () => {
    mkdirSync(join(root, "images"));
    for (const [i, { path }] of items.entries()) {
      const background = { r: 10 * i, g: 255 - 11 * i, b: (37 * i) % 256 };
      await sharp({ create: { width: 20 + i, height: 24, channels: 3, background } })
        .png()
        .toFile(path);
    }
  });
  after(() => rmSync(root, { recursive: true }));

  const options = (store: FeatureStore | undefined, more: object = {}): object => ({
    store,
    batchSize: 4,
    chunk: 8,
    name: "a set",
    ...more,
  });
  const fresh = (): FeatureStore => new FeatureStore(mkdtempSync(join(root, "store-")));

  test("both kinds are the model's own, made once, and read again in one piece", async () => {
    const store = fresh();
    const expected = await direct();
    const made: ImageFeatures[] = [];
    assert.equal(await passes(async () => made.push(await imageFeatures(loaded, items, options(store)))), 6);
    assert.equal(
      await passes(async () => {
        made.push(
          await imageFeatures(loaded, items, options(store)),
          await imageFeatures(loaded, items, options(store, { kind: "joint" })),
        );
      }),
      0,
      "nothing is made twice",
    );
    near(made[0]!.features.toFloat32Array(), expected.token);
    assert.deepEqual(made[1]!.features.toFloat32Array(), made[0]!.features.toFloat32Array());
    near(made[2]!.features.toFloat32Array(), expected.joint);
    assert.deepEqual(
      [...made[0]!.labels],
      items.map(({ label }) => label),
    );
    const [entry] = readdirSync(store.folder);
    assert.match(entry!, /^a-set-[0-9a-f]{16}$/);
    assert.equal(readdirSync(join(store.folder, entry!)).filter((name) => name.startsWith("chunk-")).length, 3);
  });

  test("a run that was stopped goes on behind its last chunk; what a crash leaves is passed over", async () => {
    const store = fresh();
    const stop = new AbortController();
    let seen = 0;
    const own = model.imageFeatures.bind(model);
    model.imageFeatures = (images) => {
      if (++seen === 4) stop.abort();
      return own(images);
    };
    await assert.rejects(imageFeatures(loaded, items, options(store, { signal: stop.signal })), InterruptedError);
    model.imageFeatures = own;
    const entry = join(store.folder, readdirSync(store.folder)[0]!);
    assert.equal(readFileSync(join(entry, "chunks.jsonl"), "utf8").trim().split("\n").length, 1);
    // A process that is killed leaves a chunk without a line, half a line, and a file beside its place.
    writeFileSync(join(entry, "chunk-00000008.safetensors"), "half");
    writeFileSync(join(entry, "chunk-00000016.safetensors.tmp-1"), "half");
    appendFileSync(join(entry, "chunks.jsonl"), '{"from":8,"to":16,"sha');
    let result: ImageFeatures | undefined;
    assert.equal(
      await passes(async () => (result = await imageFeatures(loaded, items, options(store)))),
      4,
      "the first two batches were kept",
    );
    near(result!.features.toFloat32Array(), (await direct()).token);
  });

  test("a damaged chunk is made again alone", async () => {
    const store = fresh();
    await imageFeatures(loaded, items, options(store));
    const chunk = join(store.folder, readdirSync(store.folder)[0]!, "chunk-00000008.safetensors");
    const bytes = readFileSync(chunk);
    bytes[bytes.length - 3]! ^= 1;
    writeFileSync(chunk, bytes);
    let result: ImageFeatures | undefined;
    assert.equal(await passes(async () => (result = await imageFeatures(loaded, items, options(store)))), 2);
    near(result!.features.toFloat32Array(), (await direct()).token);
    assert.equal(await passes(() => imageFeatures(loaded, items, options(store))), 0);
  });

  test("a damaged line in the list of chunks costs its chunk alone, and is said", async (t) => {
    const store = fresh();
    await imageFeatures(loaded, items, options(store));
    const list = join(store.folder, readdirSync(store.folder)[0]!, "chunks.jsonl");
    const expected = (await direct()).token;
    for (const bad of ["\0\0\0", "null", '{"from":8,"to":16}']) {
      const lines = readFileSync(list, "utf8").trimEnd().split("\n");
      const at = lines.findIndex((line) => line.includes('"from":8,'));
      lines[at] = bad;
      // A bad last line would be that of a process that was killed.
      writeFileSync(list, `${[...lines.slice(at, at + 1), ...lines.slice(0, at), ...lines.slice(at + 1)].join("\n")}\n`);
      const said: string[] = [];
      const written = t.mock.method(process.stderr, "write", (text: string) => said.push(text) > 0);
      let result: ImageFeatures | undefined;
      const made = await passes(async () => (result = await imageFeatures(loaded, items, options(store))));
      written.mock.restore();
      assert.equal(made, 2, "the chunk's eight images, and no others");
      near(result!.features.toFloat32Array(), expected);
      assert.match(said.join(""), /chunks\.jsonl: line 1 is no chunk; its features are made again/);
      assert.equal(await passes(() => imageFeatures(loaded, items, options(store))), 0);
    }
  });

  test("other weights, sizes, images, times and orders are other entries", async () => {
    const store = fresh();
    await imageFeatures(loaded, items, options(store));
    const narrow = { ...preset("nano"), jointWidth: 8 };
    const other = new Clip(narrow, { seed: 3 });
    const first = await imageFeatures({ ...loaded, model: other }, items, options(store, { kind: "joint" }));
    assert.deepEqual(first.features.shape, [23, 8]);
    await imageFeatures({ ...loaded, hash: "others" }, items, options(store));
    await imageFeatures({ ...loaded, preprocessing: { ...imagenetPreprocessing, interpolation: "bicubic" } }, items, options(store));
    await imageFeatures(loaded, items.toReversed(), options(store));
    await imageFeatures(loaded, items.slice(1), options(store));
    assert.equal(readdirSync(store.folder).length, 6);
    const { mtime } = statSync(items[0]!.path);
    utimesSync(items[0]!.path, new Date(0), new Date(0));
    await imageFeatures(loaded, items, options(store));
    utimesSync(items[0]!.path, mtime, mtime);
    assert.equal(readdirSync(store.folder).length, 7);
    other.dispose();
  });

  test("unreadable images are counted, also when features come from the store; too many are an error", async () => {
    const store = fresh();
    const broken = { path: join(root, "broken.png"), label: 1 };
    writeFileSync(broken.path, "no picture");
    const list = [...items.slice(0, 10), broken, ...items.slice(10)];
    for (const _ of [1, 2]) {
      const result = await imageFeatures(loaded, list, options(store, { maximumSkipped: 0.1 }));
      assert.equal(result.skipped, 1);
      assert.match(result.reasons[0]!, /broken\.png/);
      assert.deepEqual(
        [...result.rows],
        list.flatMap((item, row) => (item === broken ? [] : [row])),
      );
      assert.deepEqual(
        [...result.labels],
        [...result.rows].map((row) => list[row]!.label),
      );
      near(result.features.toFloat32Array(), (await direct()).token);
      await assert.rejects(imageFeatures(loaded, list, options(store, { maximumSkipped: 0.01 })), DataError);
    }
  });

  test("features that are no numbers are refused by the name of the image, and not kept", async () => {
    const store = fresh();
    const own = model.imageFeatures.bind(model);
    model.imageFeatures = (images) => {
      const features = own(images);
      features.select(0, features.sizeOf(0) - 1).fill_(NaN);
      return features;
    };
    await assert.rejects(
      imageFeatures(loaded, items, options(store)),
      (error: Error) => error instanceof DataError && /3\.png/.test(error.message),
    );
    model.imageFeatures = own;
    assert.equal(await passes(() => imageFeatures(loaded, items, options(store))), 6);
  });

  test("features of texts keep the order of the texts, whatever their lengths", async () => {
    const store = fresh();
    const texts = ["a cat that sits on a red mat and looks at the rain", "dog", "a bird in a tree", "sun", ""];
    const [made, read] = [await textFeatures(loaded, texts, { store, batchSize: 2 }), await textFeatures(loaded, texts, { store })];
    assert.deepEqual(read.toArray(), made.toArray());
    for (const [i, text] of texts.entries()) {
      const alone = await textFeatures(loaded, [text]);
      assert.ok(scope(() => ops.allclose(alone.squeeze(0), made.select(0, i), 1e-4, 1e-5)));
    }
    await assert.rejects(textFeatures(loaded, []), DataError);
  });
});
