/**
 * The addon for images: parts of a JPEG are those of the whole, smaller decodes come close, and neither broken files nor threads that end
 * harm anything.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import sharp, { type JpegOptions } from "sharp";
import { DataError, Random, UsageError } from "../support/index.ts";
import {
  decodeImage,
  evaluationImage,
  imageEngine,
  imageHeader,
  imageThreads,
  randomResizedCropBox,
  resizePillow,
  setImageThreads,
  slipViews,
  slipViewsInto,
  trainingImage,
  trainingViewInto,
} from "./index.ts";
import type { Box } from "./resample.ts";
import { jpegAddon, outcomes, owned, writePlan } from "./native.ts";
import { renderInto, renderPlain } from "./render.ts";
import { square } from "./views.ts";

const folder = fileURLToPath(new URL("../../../test/parity/images/", import.meta.url));
const variety = readdirSync(join(folder, "variety")).map((name) => join(folder, "variety", name));
const photo = join(folder, "files", "photo.jpg");
const needsJpeg = { skip: imageEngine().libjpeg === null && "needs the addon with libjpeg-turbo" };

/** Coarse and fine noise: detail of every size, and the finer the fainter, as in a photo. */
async function madePhoto(width: number, height: number, name: string, options: JpegOptions = {}): Promise<Buffer> {
  const layer = async (cells: number): Promise<Buffer> => {
    const [w, h] = [Math.ceil(width / cells), Math.ceil(height / cells)];
    const random = Random.of(name, cells);
    const noise = Uint8Array.from({ length: w * h * 3 }, () => random.integer(256));
    const image = sharp(noise, { raw: { width: w, height: h, channels: 3 } });
    return image
      .resize(width, height, { fit: "fill" })
      .ensureAlpha(Math.min(1, cells / 90 + 0.02))
      .raw()
      .toBuffer();
  };
  const raw = { width, height, channels: 4 } as const;
  const layers = await Promise.all([48, 12, 3].map(layer));
  return sharp(await layer(100), { raw })
    .composite(layers.map((input) => ({ input, raw })))
    .removeAlpha()
    .jpeg({ quality: 90, ...options })
    .toBuffer();
}

function meanDifference(a: Uint8Array, b: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!);
  return sum / a.length;
}

test("crops decoded alone are those of the whole image, whatever its sampling, scans and restart markers", needsJpeg, async () => {
  const made = await madePhoto(210, 160, "regions", { chromaSubsampling: "4:2:0" });
  const progressive = await madePhoto(150, 190, "progressive", { progressive: true });
  const files = [...variety.filter((name) => name.endsWith(".jpg")).map((name) => readFileSync(name)), made, progressive];
  let crops = 0;
  for (const [number, bytes] of files.entries()) {
    const whole = await decodeImage(bytes);
    for (let i = 0; i < (whole.width > 100 ? 100 : 8); i++) {
      const random = Random.of(number, i);
      const box = randomResizedCropBox(random, whole.width, whole.height, { scale: [0.01, 1], ratio: [0.2, 5] });
      const view = square(box, 3 + random.integer(40), random.uniform() < 0.5 ? "bilinear" : "bicubic", random.uniform() < 0.5);
      const size = view.width;
      view.window = { x: random.integer(size), y: random.integer(size), width: 1, height: 1 };
      view.window.width += random.integer(size - view.window.x);
      view.window.height += random.integer(size - view.window.y);
      const expected = new Uint8Array(view.window.width * view.window.height * 3);
      renderPlain(whole, [view], expected);
      const found = new Uint8Array(expected.length);
      await renderInto(bytes, {}, () => [view], true, found);
      assert.deepEqual(found, expected, JSON.stringify({ number, view }));
      crops++;
    }
  }
  assert.ok(crops > 1000);
});

test("crops from smaller decodes differ from the exact ones by less than a byte value in the mean", needsJpeg, async () => {
  const sizes: [width: number, height: number, size: number, eighths: number][] = [
    [760, 620, 224, 4],
    [1500, 1200, 224, 2],
    [1500, 1200, 112, 1],
  ];
  for (const options of [{}, { chromaSubsampling: "4:4:4" }, { progressive: true }]) {
    for (const [width, height, size, eighths] of sizes) {
      const bytes = await madePhoto(width, height, "scaled", options);
      for (let i = 0; i < 4; i++) {
        const settings = { size, scale: [0.9, 1], ratio: [1.2, 1.3], random: Random.of(i) } as const;
        const exact = await trainingImage(bytes, settings);
        const fast = new Uint8Array(exact.length);
        await trainingViewInto(bytes, { ...settings, random: Random.of(i) }, fast);
        const difference = meanDifference(fast, exact);
        assert.ok(difference > 0 && difference < 1, `${width} x ${height} at ${eighths}/8: ${difference}`);
      }
    }
  }
});

/** A view of so many pixels a side of a part of a JPEG, from a decode that may be smaller; alone, or beside one of the whole image. */
function smaller(bytes: Uint8Array, width: number, height: number, box: Box, size: number, besideWhole = false): Uint8Array {
  const views = [square(box, size, "bilinear"), ...(besideWhole ? [square({ x: 0, y: 0, width, height }, 1, "bilinear")] : [])];
  const target = new Uint8Array(size * size * 3 + (besideWhole ? 3 : 0));
  assert.equal(jpegAddon()!.renderNow(writePlan("jpeg", width, height, 1.2, views), bytes, target), outcomes.done);
  return target.subarray(0, size * size * 3);
}

test("an eighth of a JPEG has the samples that libjpeg gives, and near ones where colours have half the size", needsJpeg, async () => {
  for (const [options, most] of [
    [{ chromaSubsampling: "4:4:4" }, 0],
    [{ chromaSubsampling: "4:4:4", quality: 100, optimiseCoding: false }, 0],
    [{ chromaSubsampling: "4:2:0" }, 0.3],
    [{ chromaSubsampling: "4:2:0", quality: 30 }, 0.3],
  ] as const) {
    for (const [width, height] of [
      [613, 427],
      [320, 48],
      [201, 640],
    ] as const) {
      // Both hold the same coefficients, and those in several scans are left to libjpeg.
      const [ours, theirs] = await Promise.all(
        [false, true].map((progressive) => madePhoto(width, height, "eighths", { ...options, progressive })),
      );
      for (let i = 0; i < 20; i++) {
        const box = randomResizedCropBox(Random.of(i), width, height, { scale: [0.2, 1] });
        const size = Math.floor(Math.min(box.width, box.height) / 8 / 1.2);
        const found = smaller(ours!, width, height, box, size);
        const difference = meanDifference(found, smaller(theirs!, width, height, box, size));
        assert.ok(difference <= most, `${difference} of ${width} x ${height}, ${JSON.stringify(options)}`);
      }
    }
  }
});

test("of every sampling, an eighth is what libjpeg gives or nearer to the exact crop", needsJpeg, async () => {
  // Gray and full colours to the bit. Colours of half the width or height are here of more coefficients than libjpeg's, and of fewer where
  // both are halved. These images have finer colours than any photo.
  const kinds = { gray: 0, s1x1: 0, s2x1: 0, s1x2: 0, s2x2: 0.2, restart1: 0.2, restart3b: 0.2, q30: 0.2, q100: 0.2 };
  for (const [kind, further] of Object.entries(kinds)) {
    const bytes = readFileSync(join(folder, "variety", `${kind}-65x49.jpg`));
    // Without its last bits the scan is left to libjpeg, which makes up the last unit. The crops end before that.
    const cut = Buffer.concat([bytes.subarray(0, bytes.length - 5), Buffer.of(0xff, 0xd9)]);
    const whole = await decodeImage(bytes);
    let [ours, theirs, crops] = [0, 0, 0];
    for (let i = 0; i < 40; i++) {
      const box = randomResizedCropBox(Random.of(kind, i), 64, 32, { scale: [0.2, 1], ratio: [0.8, 2] });
      const size = Math.floor(Math.min(box.width, box.height) / 8 / 1.2);
      if (size < 1) continue;
      const found = smaller(bytes, 65, 49, box, size);
      const other = smaller(cut, 65, 49, box, size, true);
      if (kind === "gray" || kind === "s1x1") assert.deepEqual(found, other, `${kind} ${JSON.stringify(box)}`);
      const exact = resizePillow(whole, box, size, size, "bilinear");
      ours += meanDifference(found, exact);
      theirs += meanDifference(other, exact);
      crops++;
    }
    assert.ok(crops > 20 && ours / crops <= theirs / crops + further, `${kind}: ${ours / crops}, libjpeg's ${theirs / crops}`);
    if (kind === "s2x1" || kind === "s1x2") assert.ok(ours < theirs, `${kind}: ${ours / crops}, libjpeg's ${theirs / crops}`);
  }
});

test("of an eighth, what lies above a restart marker may be left out; all samplings come close to the exact crop", needsJpeg, async () => {
  let skipped = 0;
  const differences: number[] = [];
  for (const name of variety.filter((path) => /(65x49|40x15|17x33)\.jpg$/u.test(path) && !/cmyk|ycck/u.test(path))) {
    const bytes = readFileSync(name);
    const whole = await decodeImage(bytes);
    const { width, height } = whole;
    for (let i = 0; i < (name.includes("restart") ? 60 : 12); i++) {
      const random = Random.of(basename(name), i);
      const box = randomResizedCropBox(random, width, height, { scale: [0.1, 1] });
      const size = Math.floor(Math.min(box.width, box.height) / 8 / 1.2);
      if (size < 1) continue;
      const found = smaller(bytes, width, height, box, size);
      assert.deepEqual(found, smaller(bytes, width, height, box, size, true), `${name} ${JSON.stringify(box)}`);
      // These images are waves, noise and hard edges, looked at through few pixels: no photo is as far off.
      differences.push(meanDifference(found, resizePillow(whole, box, size, size, "bilinear")));
      if (name.includes("restart") && box.y >= 16) skipped++;
    }
  }
  const mean = differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
  assert.ok(differences.length > 300 && mean < 5, `${mean} over ${differences.length} crops`);
  assert.ok(skipped > 5, String(skipped));
});

test("what a smaller decode leaves out around a crop changes nothing in it", needsJpeg, async () => {
  const addon = jpegAddon()!;
  const options = [{}, { chromaSubsampling: "4:4:4" }, { progressive: true }];
  const files: (Uint8Array | string)[] = await Promise.all(options.map(async (form) => await madePhoto(613, 427, "around", form)));
  // Every sampling there is, also those that libjpeg-turbo widens in two steps.
  files.push(...variety.filter((name) => name.endsWith("65x49.jpg")));
  for (const [number, file] of files.entries()) {
    const bytes = typeof file === "string" ? readFileSync(file) : file;
    const { width, height, channels } = await imageHeader(bytes);
    if (channels === 4) continue;
    const whole = square({ x: 0, y: 0, width, height }, 1, "bilinear");
    for (let i = 0; i < 60; i++) {
      const random = Random.of("around", i);
      const box = randomResizedCropBox(random, width, height, { scale: [0.1, 0.6] });
      const eighths = random.choice([1, 2, 4]);
      const size = Math.max(1, Math.floor((Math.min(box.width, box.height) * eighths) / 8 / 1.3));
      const view = square(box, size, random.choice(["bilinear", "bicubic"]));
      const alone = new Uint8Array(size * size * 3);
      assert.equal(addon.renderNow(writePlan("jpeg", width, height, 1.2, [view]), bytes, alone), outcomes.done);
      const both = new Uint8Array(alone.length + 3);
      assert.equal(addon.renderNow(writePlan("jpeg", width, height, 1.2, [view, whole]), bytes, both), outcomes.done);
      assert.deepEqual(
        both.subarray(0, alone.length),
        alone,
        JSON.stringify({ file: typeof file === "string" ? file : options[number], box, size }),
      );
    }
  }
});

test("no crop is decoded smaller than its view needs", needsJpeg, async () => {
  const bytes = await madePhoto(500, 375, "large enough");
  const settings = { size: 224, random: Random.of("same") };
  const fast = new Uint8Array(224 * 224 * 3);
  await trainingViewInto(bytes, settings, fast);
  assert.deepEqual(fast, await trainingImage(bytes, { ...settings, random: Random.of("same") }));
});

test("all three views of SLIP come from one decode, and are those of the decoded pixels", async () => {
  const pixels = await decodeImage(photo);
  const settings = (seed: number) => ({ size: 40, random: Random.of("slip", seed), exact: true });
  for (let seed = 0; seed < 25; seed++) {
    const found = new Uint8Array(new SharedArrayBuffer(3 * 40 * 40 * 3));
    await slipViewsInto(photo, settings(seed), found);
    const expected = slipViews(pixels, settings(seed));
    assert.deepEqual(Buffer.from(found), Buffer.from(expected));
    // The first is the crop that training without SLIP would see.
    assert.deepEqual(expected.subarray(0, 4800), await trainingImage(photo, settings(seed)));
  }
  const plainly = { jitterChance: 0, grayscaleChance: 0, blurChance: 0, flipChance: 0, scale: [0.5, 1] as const };
  const views = slipViews(pixels, { ...settings(1), simclr: plainly });
  const random = Random.of("slip", 1);
  randomResizedCropBox(random, pixels.width, pixels.height);
  const box = randomResizedCropBox(random, pixels.width, pixels.height, plainly);
  assert.deepEqual(views.subarray(4800, 9600), resizePillow(pixels, box, 40, 40, "bilinear"));
});

test("flips are drawn after the crop, half of the time", async () => {
  let flipped = 0;
  for (let seed = 0; seed < 60; seed++) {
    const view = new Uint8Array(20 * 20 * 3);
    await trainingViewInto(photo, { size: 20, random: Random.of(seed), flip: true, exact: true }, view);
    const straight = await trainingImage(photo, { size: 20, random: Random.of(seed) });
    if (Buffer.from(view).equals(straight)) continue;
    flipped++;
    for (let y = 0; y < 20; y++) {
      for (let x = 0; x < 20; x++) {
        const [at, from] = [(y * 20 + x) * 3, (y * 20 + 19 - x) * 3];
        assert.deepEqual([...view.subarray(at, at + 3)], [...straight.subarray(from, from + 3)]);
      }
    }
  }
  assert.ok(flipped > 15 && flipped < 45, String(flipped));
});

test("results go where the caller says, also in shared memory, whatever number of threads works on them", async () => {
  const before = imageThreads();
  const expected = await evaluationImage(photo, { size: 32 });
  for (const [threads, targetStays] of [
    [1, false],
    [3, false],
    [3, true],
  ] as const) {
    setImageThreads(threads);
    const room = 20 * expected.length + 7;
    const batch = new Uint8Array(targetStays ? new ArrayBuffer(room) : new SharedArrayBuffer(room));
    const bytes = readFileSync(photo);
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        trainingViewInto(bytes, { size: 32, random: Random.of(i), exact: true, targetStays }, batch.subarray(7 + i * expected.length)),
      ),
    );
    for (let i = 0; i < 20; i++) {
      const view = batch.slice(7 + i * expected.length, 7 + (i + 1) * expected.length);
      assert.deepEqual(view, await trainingImage(photo, { size: 32, random: Random.of(i) }));
    }
    assert.deepEqual([...batch.subarray(0, 7)], [0, 0, 0, 0, 0, 0, 0]);
  }
  if (before > 0) setImageThreads(before);
  assert.throws(() => setImageThreads(0), UsageError);
  assert.throws(() => setImageThreads(1.5), UsageError);
  await assert.rejects(trainingViewInto(photo, { size: 32, random: Random.of(1) }, new Uint8Array(10)), UsageError);
});

test("arrays that are transferred while an image is made do no harm", needsJpeg, async () => {
  const addon = jpegAddon()!;
  const plan = writePlan("jpeg", 173, 117, Infinity, [square({ x: 10, y: 5, width: 90, height: 80 }, 32, "bilinear")]);
  const bytes = new Uint8Array(readFileSync(photo));
  const expected = resizePillow(await decodeImage(photo), { x: 10, y: 5, width: 90, height: 80 }, 32, 32, "bilinear");
  const target = new Uint8Array(expected.length);
  const source = addon.render(plan, bytes, target, owned.nothing);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  assert.equal(await source, outcomes.done);
  assert.deepEqual(target, expected);
  const result = addon.render(plan, readFileSync(photo), target, owned.nothing);
  structuredClone(target, { transfer: [target.buffer] });
  assert.equal(await result, outcomes.targetGone);
});

test("plans that reach outside of the image, the source or the target are refused", needsJpeg, () => {
  const addon = jpegAddon()!;
  const pixels = new Uint8Array(30 * 20 * 3);
  const good = writePlan("pixels", 30, 20, Infinity, [square({ x: 0, y: 0, width: 30, height: 20 }, 8, "bilinear")]);
  assert.equal(addon.renderNow(good, pixels, new Uint8Array(192)), 0);
  assert.throws(() => addon.renderNow(good, pixels, new Uint8Array(191)), /no room/u);
  assert.equal(addon.renderNow(good, pixels.subarray(1), new Uint8Array(192)), 3);
  const random = Random.of("plans");
  for (let i = 0; i < 3000; i++) {
    const plan = good.slice(0, random.uniform() < 0.2 ? random.integer(good.length) : good.length);
    const value = random.choice([-1, 0, 0.5, 1, 2, 29, 31, 1e3, 1e5, 2 ** 24, 2 ** 31, -(2 ** 31), 1e18, Infinity, -Infinity, Number.NaN]);
    if (plan.length > 0) plan[random.integer(plan.length)] = value;
    try {
      addon.renderNow(plan, pixels, new Uint8Array(4000));
    } catch (error) {
      assert.match((error as Error).message, /the plan|no room/u);
    }
  }
});

test("files cut anywhere are refused by both ways, and files with changed bytes give pixels or a DataError", async () => {
  const random = Random.of("damage");
  const whole = readFileSync(photo);
  for (let i = 0; i < 100; i++) {
    const cut = whole.subarray(0, 2 + random.integer(whole.length - 4));
    await assert.rejects(evaluationImage(cut, { size: 16 }), DataError, `cut at ${cut.length}`);
    await assert.rejects(trainingViewInto(cut, { size: 16, random: Random.of(i) }, new Uint8Array(768)), DataError);
  }
  const bases = variety.filter((name) => /\.(jpg|png)$/u.test(name)).map((name) => readFileSync(name));
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    let bytes = Buffer.from(random.choice(bases));
    for (let hit = random.integer(4); hit >= 0; hit--) bytes[random.integer(bytes.length)]! ^= 1 << random.integer(8);
    if (random.uniform() < 0.2) bytes = bytes.subarray(0, random.integer(bytes.length));
    if (random.uniform() < 0.1) bytes = Buffer.concat([bytes, bytes]);
    const size = i % 2 === 0 ? 16 : 3;
    const target = new Uint8Array(size * size * 3);
    await trainingViewInto(bytes, { size, random: Random.of(i), maxPixels: 1e6 }, target).catch((error: unknown) => {
      if (!(error instanceof DataError)) throw error;
      refused++;
    });
  }
  assert.ok(refused > 100 && refused < 1900, String(refused));
});

test("workers that are ended in the middle of their jobs, and a program that exits, leave the others unharmed", needsJpeg, async () => {
  const bytes = await madePhoto(1500, 1100, "ending");
  const images = new URL("./index.js", import.meta.url).href;
  const support = new URL("../support/index.js", import.meta.url).href;
  const program = `
    const { workerData, parentPort, isMainThread } = require("node:worker_threads");
    (async () => {
      const { trainingViewInto } = await import(${JSON.stringify(images)});
      const { Random } = await import(${JSON.stringify(support)});
      const bytes = isMainThread ? require("node:fs").readFileSync(process.argv[1]) : workerData;
      const jobs = [];
      for (let i = 0; i < 40; i++) {
        const target = new Uint8Array(i % 2 ? new SharedArrayBuffer(150528) : new ArrayBuffer(150528));
        jobs.push(trainingViewInto(bytes, { size: 224, random: Random.of(i), exact: true, targetStays: i % 4 === 0 }, target));
      }
      await jobs[0];
      if (isMainThread) process.exit(7);
      parentPort.postMessage("running");
      await Promise.all(jobs);
    })();
  `;
  const expected = await evaluationImage(photo, { size: 32 });
  for (let round = 0; round < 6; round++) {
    const worker = new Worker(program, { eval: true, workerData: new Uint8Array(bytes) });
    await once(worker, "message");
    const ended = worker.terminate();
    assert.deepEqual(await evaluationImage(photo, { size: 32 }), expected);
    await ended;
    assert.deepEqual(await evaluationImage(photo, { size: 32 }), expected);
  }
  const exit = spawnSync(process.execPath, ["-e", program, photo], { encoding: "utf8" });
  assert.equal(exit.status, 7, exit.stderr);
});

test("ten thousand images leave the memory as it was", needsJpeg, async () => {
  const bytes = readFileSync(photo);
  const cut = bytes.subarray(0, 3000);
  const target = new Uint8Array(48 * 48 * 3);
  const work = async (count: number): Promise<number> => {
    for (let i = 0; i < count; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, k) => trainingViewInto(bytes, { size: 48, random: Random.of(i, k) }, target)));
      await jpegAddon()!.render(
        writePlan("jpeg", 173, 117, 1.2, [square({ x: 0, y: 0, width: 99, height: 99 }, 48, "bilinear")]),
        cut,
        target,
        0,
      );
    }
    return process.memoryUsage().rss;
  };
  const before = await work(2000);
  const after = await work(10_000);
  assert.ok(after - before < 24 * 2 ** 20, `${((after - before) / 2 ** 20).toFixed(1)} MiB more`);
});
