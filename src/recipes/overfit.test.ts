/** Learning one batch by heart: where it works, and that what is broken is named. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import sharp from "sharp";
import { emojiClip } from "./emoji.ts";
import { findRecipe } from "./index.ts";
import { overfit } from "./overfit.ts";
import { derive } from "./recipe.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-overfit-"));

/** Eight images with the captions of `caption`; those of one colour are `plain`. */
async function table(name: string, caption: (i: number) => string, plain: boolean): Promise<string> {
  const folder = join(root, name);
  mkdirSync(folder);
  const rows = ["id,image,caption"];
  for (let i = 0; i < 8; i++) {
    const background = { r: 30 * i, g: 255 - 30 * i, b: 128 };
    const square = sharp({ create: { width: 20, height: 20, channels: 3, background: "black" } });
    const overlay = plain ? [] : [{ input: await square.png().toBuffer(), left: 12, top: 12 }];
    await sharp({ create: { width: 44, height: 44, channels: 3, background } })
      .composite(overlay)
      .png()
      .toFile(join(folder, `${i}.png`));
    rows.push(`s${i},${i}.png,${caption(i)}`);
  }
  writeFileSync(join(folder, "captions.csv"), `${rows.join("\n")}\n`);
  return folder;
}

describe("overfit", () => {
  before(() => mkdirSync(root, { recursive: true }));
  after(() => rmSync(root, { recursive: true }));

  test("learns drawn pictures, and a table's images with equal captions down to what these leave undecided", async () => {
    const drawn = await overfit({ recipe: emojiClip, batchSize: 8 });
    assert.ok(drawn.ok, JSON.stringify(drawn));
    assert.ok(drawn.floor < 0.02, "nothing is undecided");
    assert.deepEqual([drawn.objective, drawn.findings], ["clip", []]);

    const file = await table("pairs-alike", (i) => (i < 2 ? "a pair" : `number ${i} of the pictures`), false);
    const report = await overfit({ recipe: emojiClip, data: { file }, batchSize: 8 });
    assert.ok(report.ok, JSON.stringify(report));
    assert.ok(Math.abs(report.floor - (2 * Math.log(2)) / 8) < 0.02, `${report.floor}`);
    assert.match(report.findings[0]!.what, /2 of 8 texts are equal to another, for instance "a pair"/);
  });

  for (const name of ["emoji-laclip-mt", "emoji-slip", "emoji-siglip", "emoji-lasiglip-mt", "emoji-laclip-soft"] as const) {
    test(`${name}: drawn pictures are learnt by its own objective`, async () => {
      const report = await overfit({ recipe: findRecipe(name), batchSize: 8 });
      assert.ok(report.ok, JSON.stringify(report));
      assert.equal(report.objective, findRecipe(name).objective!.name);
      assert.ok(report.floor < 0.05 && report.first > report.floor + 0.5, JSON.stringify(report));
    });
  }

  test("says what an objective leaves where its texts compete for one image", async () => {
    const recipe = derive(findRecipe("emoji-laclip-mt"), { objective: { name: "multi-text", denominator: "joint" } });
    const report = await overfit({ recipe, batchSize: 8 });
    assert.ok(Math.abs(report.floor - Math.log(2) / 2) < 0.02, JSON.stringify(report));
    assert.ok(report.ok, JSON.stringify(report));
  });

  test("gradients that overflow are not taken for none", async () => {
    const report = await overfit({ recipe: derive(emojiClip, { training: { lossScale: 1e39 } }), batchSize: 8, steps: 3 });
    assert.equal(report.ok, false);
    assert.match(report.findings[0]!.what, /The loss hardly moves/);
  });

  test("names captions that are all the same, and images of one colour", async () => {
    const file = await table("all-alike", () => "image", true);
    const report = await overfit({ recipe: emojiClip, data: { file }, batchSize: 8, steps: 3 });
    assert.equal(report.ok, false);
    const said = report.findings.map(({ what }) => what).join("\n");
    assert.match(said, /8 of 8 texts are equal/);
    assert.match(said, /8 of 8 images are of one colour/);
    assert.match(said, /Most of the batch is alike/);
  });

  test("names a learning rate that is too low, and one that is far too high", async () => {
    const rate = (peakLr: number) => derive(emojiClip, { optimizer: { peakLr } });
    const low = await overfit({ recipe: rate(1e-9), batchSize: 8, steps: 10 });
    assert.equal(low.ok, false);
    assert.match(low.findings[0]!.what, /hardly moves/);
    const high = await overfit({ recipe: rate(1e37), batchSize: 8, steps: 10 });
    assert.equal(high.ok, false);
    assert.match(high.findings[0]!.what, /is NaN|is Infinity/);
    assert.match(high.findings[0]!.mend, /Lower the learning rate/);
  });
});
