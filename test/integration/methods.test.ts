/**
 * One recipe of each method, shrunk by `--smoke`, from image files and rewrites to a finished model that can be loaded.
 *
 * `LACLIP_SMOKE=all npm test -- integration/methods` does the same with every recipe.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { loadModel } from "../../src/models/index.ts";
import { type Recipe, applySettings, findRecipe, recipes, runRecipe, smoke } from "../../src/recipes/index.ts";
import { InterruptedError, UsageError } from "../../src/support/index.ts";
import { writeCollection, writeRewrites } from "./small-collection.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-methods-"));
const file = join(root, "captions.csv");
const rewrites = join(root, "rewrites");
/** The same, but that every text weighs as much. */
const unweighed = join(root, "unweighed");
before(async () => {
  const rows = await writeCollection(root, 24);
  const texts = ["bard", "human"].flatMap((source) => rows.map(({ id }, i) => ({ id, source, text: `${source} sees picture ${i % 9}` })));
  await writeRewrites(root, unweighed, texts);
  await writeRewrites(
    root,
    rewrites,
    texts.map((rewrite) => ({ ...rewrite, weight: rewrite.source === "bard" ? 0.5 : 1 })),
  );
});
after(() => rmSync(root, { recursive: true }));

const train = async (name: string, recipe: Recipe, { signal, from = rewrites }: { signal?: AbortSignal; from?: string } = {}) =>
  await runRecipe({ recipe, data: { file, rewrites: from }, out: join(root, "runs", name), ...(signal && { signal }) });

describe("every method trains", () => {
  const common = ["train/loss", "train/accuracy", "train/contrastive_loss", "train/logit_scale", "train/samples_per_second"];
  const measures: Record<string, string[]> = {
    "emoji-clip": ["train/text_accuracy"],
    "emoji-laclip": ["train/text_accuracy"],
    "laclip-mt-cc3m-vit-b-16": ["train/text_accuracy"],
    "emoji-slip": ["train/ssl_loss", "train/ssl_accuracy"],
    "laslip-cc12m-vit-b-16": ["train/ssl_loss", "train/ssl_accuracy"],
    "laclip-laion400m-vit-b-32": ["train/text_accuracy"],
    "laslip-laion400m-vit-l-14": ["train/ssl_loss", "train/ssl_accuracy"],
    "emoji-siglip": ["train/logit_bias"],
    "emoji-lasiglip-mt": ["train/logit_bias"],
    "emoji-laclip-soft": ["train/text_accuracy"],
  };
  const names = process.env["LACLIP_SMOKE"] === "all" ? Object.keys(recipes) : Object.keys(measures);
  for (const name of names) {
    test(name, async () => {
      const recipe = smoke(findRecipe(name));
      const { run, steps } = await train(name, recipe);
      assert.equal(steps, recipe.training.steps);
      const last = run.events().findLast(({ event }) => event === "train")!;
      for (const measure of [...common, ...(measures[name] ?? [])])
        assert.ok(Number.isFinite(last[measure]), `${measure} is ${last[measure]}`);
      const { model } = loadModel(run.model);
      assert.equal(model.viewHead !== undefined, name.includes("slip"));
      model.dispose();
    });
  }

  test("duplicates are masked, and weights of rewrites count in the loss", async () => {
    /** The loss of the first step, before anything is learned. */
    const loss = async (name: string, settings: string[], from = rewrites): Promise<number> => {
      const recipe = applySettings(smoke(findRecipe("emoji-laclip-mt")), [...settings, "training.steps=2", "training.logEvery=1"]);
      const { run } = await train(name, recipe, { from });
      return Number(run.events().find(({ event }) => event === "train")!["train/loss"]);
    };
    const drawn = await loss("drawn", []);
    // The same texts are drawn in these three: of them, some count half, and some are the texts of other images too.
    const plain = await loss("plain", [], unweighed);
    const weighed = await loss("weighed", ["captions.weighing=loss"]);
    const masked = await loss("masked", ["captions.weighing=loss", "objective.maskDuplicates=true"]);
    assert.ok(weighed < 0.95 * plain && weighed < 0.95 * drawn, `weighed ${weighed}, unweighed ${plain}, drawn by weight ${drawn}`);
    assert.ok(masked < weighed - 0.005, `without duplicates ${masked}, with them ${weighed}`);
  });
});

test("a run of views in micro-batches goes on after an interruption with the same weights", async () => {
  const recipe = applySettings(smoke(findRecipe("emoji-laslip")), ["training.microBatch=5", "training.checkpointEvery=3"]);
  const undisturbed = await train("undisturbed", recipe);
  const stopping = AbortSignal.abort();
  for (let i = 0; i < 2; i++) await assert.rejects(train("stopped", recipe, { signal: stopping }), InterruptedError);
  const resumed = await train("stopped", recipe);
  const weights = (folder: string): Buffer => readFileSync(join(folder, "model.safetensors"));
  assert.ok(weights(resumed.run.model).equals(weights(undisturbed.run.model)));
  // The processor can also change colours where it trains, and then nothing else changes.
  const elsewhere = await train("elsewhere", applySettings(recipe, ["training.viewsOn=device"]));
  assert.ok(weights(elsewhere.run.model).equals(weights(undisturbed.run.model)));
});

test("what does not fit is refused before a run folder is made", async () => {
  const recipe = applySettings(smoke(findRecipe("emoji-clip")), ["objective.name=sigmoid"]);
  await assert.rejects(train("refused", recipe), UsageError);
  assert.ok(!existsSync(join(root, "runs", "refused")));
});
