import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { readClassifiedItems, readResult } from "../../src/evaluation/index.ts";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../src/models/index.ts";
import { noGrad, ops } from "../../src/torch/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { syntheticDatasets } from "./synthetic-datasets.ts";

const photos = fileURLToPath(new URL("../../../../shared/data/clothing10/", import.meta.url));
const made = mkdtempSync(join(tmpdir(), "laclip-zero-shot-"));
after(() => rmSync(made, { recursive: true }));
const model = join(made, "run", "model");

interface Scored {
  dataset: string;
  model: string;
  metrics: { acc1: number; acc5: number; mean_per_class_recall: number };
  images: number;
  skipped: number;
  main_metric: string;
  worst: { class: string; images: number; right: number; taken_for: { class: string; images: number }[] }[];
  laclip: { protocol: Record<string, unknown>; classes: string[]; mainMetric: string };
}

async function evaluate(...args: string[]): Promise<Ended> {
  return await runLaclip(["evaluate", "zero-shot", ...args], { env: { LACLIP_DATASETS: "", LACLIP_FEATURES: join(made, "features") } });
}

async function scored(...args: string[]): Promise<{ result: Scored; stderr: string }> {
  const { code, stdout, stderr } = await evaluate("--model", model, "--json", ...args);
  assert.equal(code, 0, stderr);
  return { result: JSON.parse(stdout) as Scored, stderr };
}

async function refused(args: string[], message: RegExp, code = 3): Promise<void> {
  const ended = await evaluate("--model", model, ...args);
  assert.equal(ended.code, code, ended.stderr);
  assert.match(ended.stderr, message);
  assert.doesNotMatch(ended.stderr, /defect/);
}

/** A folder for each class, with two images in each. */
async function pictures(name: string, classes: readonly string[], files: Record<string, string> = {}): Promise<string> {
  const folder = join(made, name);
  for (const [i, own] of classes.entries()) {
    mkdirSync(join(folder, own), { recursive: true });
    for (const [k, image] of ["a.png", "b.png"].entries()) {
      const background = { r: (i * 90) % 256, g: (k * 120) % 256, b: (i * 40 + 20) % 256 };
      await sharp({ create: { width: 24, height: 20, channels: 3, background } })
        .png()
        .toFile(join(folder, own, image));
    }
  }
  for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content);
  return folder;
}

before(() => {
  const clip = new Clip(preset("nano"), { seed: 5 });
  saveModel(model, { model: clip, preprocessing: imagenetPreprocessing });
  noGrad(() => ops.fillScalar_(clip.stateDict().get("image_projection")!, NaN));
  saveModel(join(made, "spoiled"), { model: clip, preprocessing: imagenetPreprocessing });
  clip.dispose();
});

describe("laclip evaluate zero-shot", () => {
  test("a published set has the names and prompts of the protocol that fits the model, or of the one that is asked for", async () => {
    const root = join(made, "datasets");
    for (const name of ["pets", "resisc45"]) await syntheticDatasets.find((one) => one.name === name)!.write(root);
    const { result, stderr } = await scored("--dataset", "pets", "--root", root, "--incomplete");
    assert.deepEqual([result.dataset, result.main_metric, result.model], ["pets", "mean_per_class_recall", "run"]);
    assert.deepEqual([result.laclip.protocol["words"], result.laclip.protocol["normalisation"]], ["slip", "imagenet"]);
    assert.ok(result.laclip.classes.every((name) => /^[A-Za-z ]+$/.test(name)));
    assert.match(stderr, /warning: Oxford-IIIT Pets?: .*expected/);
    assert.match(stderr, /of the protocol slip \(1 prompt\)/);
    const other = await scored("--dataset", "resisc45", "--root", root, "--incomplete", "--protocol", "clip-benchmark");
    assert.equal(other.result.laclip.protocol["templates"], 4);
    assert.match(other.stderr, /The protocol clip-benchmark has OpenAI's normalisation, this model another/);
    await refused(["--dataset", "pets", "--root", root], /expected \d+/);
    await refused(["--dataset", "pets"], /Where is Oxford/, 2);
    await refused(["--dataset", "pats", "--root", root], /There is no data set "pats"[^]*pets/, 2);
  });

  test("folders of ImageNet are known by their numbers and get its prompts; other words may be given", async () => {
    const folder = await pictures("imagenette", ["n01440764", "n02102040", "n02979186"]);
    const { result } = await scored("--dataset", folder);
    assert.deepEqual(result.laclip.classes, ["tench", "English Springer Spaniel", "cassette player"]);
    assert.deepEqual([result.laclip.protocol["templates"], result.images], [7, 6]);
    assert.equal((await scored("--dataset", folder, "--protocol", "openai")).result.laclip.protocol["templates"], 80);
    const names = join(made, "names.json");
    writeFileSync(names, JSON.stringify({ n01440764: ["tench", "Tinca tinca"], n02102040: "dog", n02979186: "tape" }));
    const { laclip } = (await scored("--dataset", folder, "--classes", names)).result;
    assert.deepEqual([laclip.classes, laclip.protocol["words"]], [["tench", "dog", "tape"], "own"]);
    writeFileSync(names, JSON.stringify({ n01440764: "tench", n02102040: "dog", n09999999: "tape" }));
    await refused(["--dataset", folder, "--classes", names], /no name for 1 of 3 classes: n02979186/);
    const thousand = join(made, "thousand.txt");
    writeFileSync(thousand, Array.from({ length: 1000 }, (_, i) => `class ${i}`).join("\n"));
    await refused(["--dataset", folder, "--classes", thousand], /1000 names for 3 classes/);
  });

  test("the result, every prediction and the worst classes agree with each other", async () => {
    const folder = await pictures("colours", ["red", "green", "blue", "brown"]);
    const out = join(made, "results");
    const { result } = await scored("--dataset", folder, "--out", out, "--worst", "9");
    const files = readdirSync(out);
    const path = join(
      out,
      files.find((name) => name.endsWith(".json"))!,
    );
    assert.deepEqual(files.filter((name) => name.endsWith(".json")).length, 1, "CLIP_benchmark reads every .json of a folder");
    const stored = { path, result: readResult(path) };
    assert.deepEqual(stored.result.metrics, result.metrics);
    const items = (await readClassifiedItems(stored))!;
    assert.equal(items.length, 8);
    assert.equal(items.filter(({ rank }) => rank === 1).length / 8, result.metrics.acc1);
    assert.equal(result.metrics.acc5, 1, "with four classes the right one is among the best five");
    const wrong = result.worst.reduce((sum, { images, right }) => sum + images - right, 0);
    assert.equal(wrong, 8 - 8 * result.metrics.acc1);
    for (const { images, right, taken_for: others } of result.worst) {
      assert.equal(
        others.reduce((sum, other) => sum + other.images, 0),
        images - right,
      );
    }
    const { stdout, stderr } = await evaluate("--model", model, "--dataset", folder);
    assert.match(stdout, /^top-1 \d+\.\d\d %  top-5 100\.00 %  mean per class \d+\.\d\d %\n$/);
    assert.match(stderr, /Least recall:\n  \w+: [01] of 2; taken for \w+ [12]/);
  });

  test("a table, a split, and a model whose features are no numbers", async () => {
    const folder = await pictures("shop", ["hat", "shoe"], {
      "items.csv": "photo,kind,split\nhat/a.png,hat,train\nhat/b.png,hat,val\nshoe/a.png,shoe,val\nshoe/b.png,shoe,test\n",
    });
    const table = ["--dataset", join(folder, "items.csv"), "--image-column", "photo", "--label-column", "kind"];
    const { result } = await scored(...table, "--split", "validation");
    assert.deepEqual([result.dataset, result.images], ["items-validation", 2]);
    await refused(["--dataset", join(folder, "items.csv")], /which column holds the image/);
    const spoiled = await evaluate("--model", join(made, "spoiled"), "--dataset", folder);
    assert.equal(spoiled.code, 3);
    assert.match(spoiled.stderr, /features of .*hat\/a\.png are not finite[^]*earlier checkpoint/);
  });

  test("photographs of clothes", { skip: existsSync(photos) ? false : "../shared/data/clothing10 is not here" }, async () => {
    const { result } = await scored("--dataset", photos);
    assert.deepEqual(result.laclip.classes.slice(0, 3), ["dress", "hat", "longsleeve"]);
    assert.ok(result.images > 300 && result.skipped === 0);
    assert.ok(result.metrics.acc1 >= 0 && result.metrics.acc5 <= 1 && result.metrics.acc1 <= result.metrics.acc5);
  });
});
