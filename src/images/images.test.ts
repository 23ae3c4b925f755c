import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { DataError, Random, sha256 } from "../support/index.ts";
import { decodeImage, evaluationImage, randomResizedCropBox, resizePillow, trainingImage, type Box, type Interpolation } from "./index.ts";

interface Check {
  kind: "decode" | "evaluation" | "crop";
  file: string;
  width: number;
  height: number;
  sha256: string;
  kernel?: Interpolation;
  size?: number;
  box?: [number, number, number, number];
}

const folder = fileURLToPath(new URL("../../../test/parity/images/", import.meta.url));
const checks = JSON.parse(readFileSync(join(folder, "reference.json"), "utf8")) as Check[];
const file = (name: string): string => join(folder, "files", name);

test("decoded pixels are Pillow's, for every kind of file", async () => {
  const decodes = checks.filter(({ kind }) => kind === "decode");
  assert.ok(decodes.length >= 18);
  for (const check of decodes) {
    const pixels = await decodeImage(file(check.file));
    assert.deepEqual([pixels.width, pixels.height], [check.width, check.height], check.file);
    assert.equal(sha256(pixels.data), check.sha256, check.file);
    const fromBytes = await decodeImage(await readFile(file(check.file)));
    assert.deepEqual(fromBytes.data, pixels.data);
  }
});

test("evaluation views are Pillow's Resize and CenterCrop bit by bit", async () => {
  for (const check of checks.filter(({ kind }) => kind === "evaluation")) {
    const view = await evaluationImage(file(check.file), { size: check.size!, interpolation: check.kernel! });
    assert.equal(sha256(view), check.sha256, JSON.stringify(check));
  }
});

test("crops resized up and down are Pillow's bit by bit", async () => {
  for (const check of checks.filter(({ kind }) => kind === "crop")) {
    const [x, y, width, height] = check.box!;
    const resized = resizePillow(await decodeImage(file(check.file)), { x, y, width, height }, check.width, check.height, check.kernel!);
    assert.equal(sha256(resized), check.sha256, JSON.stringify(check));
  }
});

test("a window of a resized image is that part of the whole", () => {
  const pixels = { width: 37, height: 29, data: Uint8Array.from({ length: 37 * 29 * 3 }, (_, i) => (i * 7919) % 256) };
  const box = { x: 2, y: 1, width: 33, height: 27 };
  const whole = resizePillow(pixels, box, 20, 50, "bicubic");
  const window = { x: 3, y: 11, width: 9, height: 20 };
  const part = resizePillow(pixels, box, 20, 50, "bicubic", window);
  for (let y = 0; y < window.height; y++) {
    const start = ((window.y + y) * 20 + window.x) * 3;
    assert.deepEqual(part.subarray(y * 27, (y + 1) * 27), whole.subarray(start, start + 27));
  }
});

test("files that are no whole image give a DataError that names the file and the reason", async () => {
  const refused: [name: string, reason: RegExp][] = [
    ["broken-truncated.jpg", /cut short/],
    ["broken-truncated.png", /cut short/],
    ["broken-html.jpg", /web page/],
    ["broken-empty.jpg", /empty/],
    ["missing.jpg", /no such file/],
    ["../files", /a folder/],
  ];
  for (const [name, reason] of refused) {
    await assert.rejects(decodeImage(file(name)), (error) => {
      assert.ok(error instanceof DataError);
      assert.match(error.message, reason);
      assert.ok(error.message.startsWith(file(name)), error.message);
      return true;
    });
  }
  await assert.rejects(decodeImage(Buffer.from("just some words in a file"), { name: "row 7" }), /row 7: not an image of a known format/);
  await assert.rejects(decodeImage(Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>")), /SVG/);
});

test("an image above the pixel limit is refused before it is unfolded", async () => {
  const bomb = await sharp({ create: { width: 9000, height: 9000, channels: 3, background: "red" } })
    .png()
    .toBuffer();
  await assert.rejects(decodeImage(bomb), /more than 50000000 pixels/);
  await assert.rejects(decodeImage(file("photo.jpg"), { maxPixels: 1000 }), /more than 1000 pixels/);
});

test("alpha is dropped, not blended", async () => {
  const clear = await sharp({ create: { width: 4, height: 4, channels: 4, background: { r: 200, g: 100, b: 50, alpha: 0 } } })
    .png()
    .toBuffer();
  assert.deepEqual([...(await decodeImage(clear)).data.subarray(0, 3)], [200, 100, 50]);
});

test("random crops stay inside, cover the asked share and shape, and are decided by the generator alone", () => {
  const random = Random.of("crops");
  const shares: number[] = [];
  for (let i = 0; i < 2000; i++) {
    const [width, height] = [40 + random.integer(200), 40 + random.integer(200)];
    const box = randomResizedCropBox(Random.of("crop", i), width, height);
    assertInside(box, width, height);
    shares.push((box.width * box.height) / (width * height));
    assert.deepEqual(randomResizedCropBox(Random.of("crop", i), width, height), box);
  }
  const square = Array.from({ length: 2000 }, (_, i) => randomResizedCropBox(Random.of("square", i), 100, 100));
  for (const { width, height } of square) {
    assert.ok(width * height > 4800 && width * height <= 10000);
    assert.ok(width / height > 0.73 && width / height < 1.36);
  }
  assert.ok(Math.min(...shares) > 0.2 && Math.max(...shares) > 0.95);
});

test("where no crop of an allowed shape fits, the largest centred one is taken", () => {
  assert.deepEqual(randomResizedCropBox(Random.of("wide"), 1000, 30), { x: 480, y: 0, width: 40, height: 30 });
  assert.deepEqual(randomResizedCropBox(Random.of("tall"), 30, 1000), { x: 0, y: 480, width: 30, height: 40 });
  assert.deepEqual(randomResizedCropBox(Random.of("dot"), 1, 1), { x: 0, y: 0, width: 1, height: 1 });
});

test("a training view is the resized crop that its generator decides", async () => {
  const view = await trainingImage(file("photo.jpg"), { size: 32, random: Random.of(1, "photo") });
  const pixels = await decodeImage(file("photo.jpg"));
  const box = randomResizedCropBox(Random.of(1, "photo"), pixels.width, pixels.height);
  assert.deepEqual(view, resizePillow(pixels, box, 32, 32, "bilinear"));
  const other = await trainingImage(file("photo.jpg"), { size: 32, random: Random.of(2, "photo") });
  assert.notDeepEqual(view, other);
});

function assertInside(box: Box, width: number, height: number): void {
  assert.ok(box.x >= 0 && box.y >= 0 && box.width >= 1 && box.height >= 1, JSON.stringify(box));
  assert.ok(box.x + box.width <= width && box.y + box.height <= height, JSON.stringify(box));
}
