/** Pixels to what the image tower reads. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cutPatches, memoryInfo, scope } from "../torch/index.ts";
import { type Preprocessing, byteImages, colourScales, imagenetPreprocessing, normalizeImages } from "./preprocessing.ts";

test("each channel is (pixel / 255 - mean) / std, channels first, images one after the other", () => {
  scope(() => {
    const size = 3;
    const pixels = Uint8Array.from({ length: 2 * size * size * 3 }, (_, i) => (i * 37) % 256);
    const { mean, std } = imagenetPreprocessing;
    const images = normalizeImages(byteImages(pixels, 2, size, imagenetPreprocessing));
    assert.deepEqual([images.dtype, images.shape], ["float32", [2, 3, size, size]]);
    const values = images.toArray();
    for (let image = 0; image < 2; image++)
      for (let channel = 0; channel < 3; channel++)
        for (let place = 0; place < size * size; place++) {
          const expected = (pixels[(image * size * size + place) * 3 + channel]! / 255 - mean[channel]!) / std[channel]!;
          const got = values[(image * 3 + channel) * size * size + place]!;
          assert.ok(Math.abs(got - expected) < 1e-5, `${got}, expected ${expected}`);
        }
    assert.deepEqual(images.view(-1).shape, [54], "the memory is contiguous");
  });
});

test("black and white are what they should be, and nothing else is left behind", () => {
  scope(() => {
    const plain: Preprocessing = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], interpolation: "bilinear" };
    const bytes = byteImages(Uint8Array.of(0, 0, 0, 255, 255, 255, 0, 255, 0, 255, 0, 255), 1, 2, plain);
    const before = memoryInfo().live;
    const images = normalizeImages(bytes);
    assert.equal(memoryInfo().live, before + 1);
    images.toArray().forEach((value, i) => assert.ok(Math.abs(value - [-1, 1, -1, 1, -1, 1, 1, -1, -1, 1, -1, 1][i]!) < 1e-6));
  });
});

test("a number of pixels that makes no such images is refused", () => {
  assert.throws(() => normalizeImages(byteImages(new Uint8Array(11), 1, 2, imagenetPreprocessing)), {
    name: "NativeError",
    message: /12 bytes, the array has 11/,
  });
});

test("every byte of every colour becomes the same number in one pass, to the last bit", () => {
  scope(() => {
    const bytes = Uint8Array.from({ length: 256 * 3 }, (_, i) => Math.floor(i / 3));
    for (const preprocessing of [
      imagenetPreprocessing,
      { ...imagenetPreprocessing, mean: [0.5, 0.1, 0.9], std: [0.3, 1, 0.0071] } as const,
    ]) {
      const images = byteImages(bytes, 1, 16, preprocessing as Preprocessing);
      assert.deepEqual(cutPatches(images.bytes, colourScales(images.preprocessing), 16).toArray(), normalizeImages(images).toArray());
    }
  });
});
