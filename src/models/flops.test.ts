/** Operations of a model against those counted from the products that it makes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { imageFlops, textFlops } from "./flops.ts";
import { preset } from "./presets.ts";

test("ViT-B/16 needs what is known of it", () => {
  const config = preset("vit-b-16");
  const giga = imageFlops(config) / 1e9;
  // 12 blocks of 24 n W^2 + 4 n^2 W with n = 197 are 35.1 GFLOP (17.6 G multiply-adds); the last block saves most of its part.
  const whole = 12 * (24 * 197 * 768 ** 2 + 4 * 197 ** 2 * 768);
  assert.ok(giga < whole / 1e9 && giga > 0.92 * (whole / 1e9), `${giga}`);
});

test("half of the patches is less than half of the products, and a longer text is more", () => {
  const config = preset("vit-b-32");
  const patches = (config.vision.imageSize / config.vision.patchSize) ** 2;
  assert.ok(imageFlops(config, patches / 2) < 0.55 * imageFlops(config));
  assert.ok(textFlops(config, 20) > 1.9 * textFlops(config, 10));
});
