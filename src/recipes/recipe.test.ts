import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Clip, clipConfigSchema } from "../models/index.ts";
import type { UsageError } from "../support/index.ts";
import { trainSettings } from "../training/index.ts";
import { emojiClip, findRecipe, objectiveOf, recipes, shapeOf, smoke } from "./index.ts";
import { applySettings, derive, parseRecipe, recipeSchema } from "./recipe.ts";

describe("recipes", () => {
  test("every recipe by name is valid, and LaCLIP differs from CLIP in the captions alone", () => {
    for (const recipe of Object.values(recipes)) recipeSchema.parse(recipe);
    for (const kind of ["emoji", "vit-b-16"]) {
      const [clip, laclip] = kind === "emoji" ? ["emoji-clip", "emoji-laclip"] : ["clip-vit-b-16", "laclip-vit-b-16"];
      const { captions: a, description: _, ...ofClip } = recipes[clip]!;
      const { captions: b, description: __, ...ofLaclip } = recipes[laclip]!;
      assert.deepEqual(ofClip, ofLaclip);
      assert.deepEqual([a.choose, b.choose], ["original", "uniform"]);
    }
  });

  test("every recipe, and what --smoke makes of it, has a model that its objective fits", () => {
    for (const [name, recipe] of Object.entries(recipes)) {
      for (const one of [recipe, smoke(recipe)]) {
        const objective = objectiveOf(one);
        const shape = clipConfigSchema.parse(shapeOf(one));
        assert.equal(objective.name, one.objective?.name ?? "clip", name);
        assert.equal(shape.viewHead !== undefined, objective.needs.views ?? false, name);
        assert.equal(shape.logitBias !== undefined, objective.needs.logitBias ?? false, name);
      }
      const small = smoke(recipe);
      assert.deepEqual([small.objective, small.captions, small.optimizer], [recipe.objective, recipe.captions, recipe.optimizer]);
      assert.equal(small.training.microBatch === undefined, recipe.training.microBatch === undefined);
    }
  });

  test("every recipe's model is built at its full size, each shape once", () => {
    const shapes = new Map(Object.values(recipes).map((recipe) => [JSON.stringify(shapeOf(recipe)), shapeOf(recipe)]));
    for (const shape of shapes.values()) {
      const model = new Clip(shape, { seed: 1 });
      const names = [...model.namedParameters()].map(([name]) => name);
      assert.equal(names.filter((name) => /^visual\..*\b(norm1|ln_1)\.weight$/.test(name)).length, shape.vision.depth);
      assert.equal(model.viewHead !== undefined, shape.viewHead !== undefined);
      model.dispose();
    }
  });

  test("the paper's methods on a data set differ in captions, objective and head alone", () => {
    const laion = ["vit-b-32", "vit-b-16", "vit-l-14"].map((model) => `laion400m-${model}`);
    for (const data of ["cc3m-vit-b-16", "cc12m-vit-b-16", "redcaps-vit-b-16", ...laion]) {
      const of = (method: string): (typeof recipes)[string] => recipes[`${method}-${data}`]!;
      for (const method of ["laclip", "laclip-mt", "slip", "laslip"]) {
        const { training, optimizer, images, model } = of(method);
        assert.deepEqual([training, optimizer, images], [of("clip").training, of("clip").optimizer, of("clip").images]);
        assert.deepEqual({ ...model, viewHead: undefined }, { ...of("clip").model, viewHead: undefined });
      }
      assert.deepEqual(of("laslip").captions, of("laclip").captions);
      assert.deepEqual(of("laslip").objective, of("slip").objective);
    }
  });

  test("LAION-400M is trained with open_clip's towers, whose form and activation --smoke keeps", () => {
    const models = Object.entries(recipes).filter(([name]) => name.includes("laion400m"));
    assert.equal(models.length, 15);
    for (const [name, recipe] of models) {
      for (const { vision, text } of [shapeOf(recipe), shapeOf(smoke(recipe))]) {
        const activation = name.endsWith("l-14") ? "quick-gelu" : "gelu";
        assert.deepEqual([vision.form, vision.activation, text.activation], ["open-clip", activation, activation], name);
      }
    }
    assert.equal(shapeOf(recipes["clip-laion400m-vit-l-14"]!).text.width, 768);
  });

  test("what stays as it is is named, or said how far; activation is of both towers", () => {
    const frozen = (setting: string): unknown => applySettings(emojiClip, [`model.freeze=${setting}`]).model.freeze;
    assert.deepEqual([frozen("image"), frozen('{"image": 2, "text": true}')], ["image", { image: 2, text: true }]);
    assert.throws(() => frozen("visual"), /model\.freeze/);
    assert.equal(smoke(applySettings(emojiClip, ["model.freeze=text"])).model.freeze, undefined);
    const { vision, text } = shapeOf(applySettings(emojiClip, ["model.activation=gelu"]));
    assert.deepEqual([vision.activation, text.activation], ["gelu", "gelu"]);
    for (const share of ["1", "-0.1"]) assert.throws(() => applySettings(emojiClip, [`training.patchDropout=${share}`]), /patchDropout/);
  });

  test("an objective is set by name and by its settings; what it lacks is told with the way to give it", () => {
    const sigmoid = applySettings(emojiClip, ["objective.name=sigmoid", "model.logitBias=-10", "model.logitScale=10"]);
    assert.equal(objectiveOf(sigmoid).name, "sigmoid");
    const joint = applySettings(recipes["emoji-laclip-mt"]!, ["objective.denominator=joint"]);
    assert.deepEqual(joint.objective, { name: "multi-text", denominator: "joint" });
    const whole = applySettings(emojiClip, ['objective={"name": "soft-targets", "share": 0.1, "temperature": 0.05}']);
    assert.equal(objectiveOf(whole).name, "soft-targets");
    assert.throws(
      () => applySettings(emojiClip, ["training.steps=3", "objective.denominator=joint"]),
      (error: UsageError) =>
        error.message.startsWith("--set objective.denominator=joint: the recipe names no objective") &&
        error.mend!.endsWith("name=multi-text or --set objective.name=slip."),
    );
    assert.throws(() => applySettings(emojiClip, ["objective.denominator=joint", "objective.share=0.1"]), {
      mend: /^None has all of these/,
    });
    assert.throws(() => applySettings(emojiClip, ["objective.name=clap"]), /objective/);
    assert.throws(() => objectiveOf(applySettings(emojiClip, ["objective.name=sigmoid"])), /learns a bias, and the model has none/);
    const slip = applySettings(emojiClip, ['objective={"name": "slip", "scale": 1, "temperature": 0.1}']);
    assert.throws(() => objectiveOf(slip), /the model has no head for them/);
    const two = applySettings(emojiClip, ["captions.textsPerImage=2"]);
    assert.throws(() => objectiveOf(two), /takes one text for each image, and captions.textsPerImage is 2/);
  });

  test("derived recipes change what is named and keep the rest; the base stays", () => {
    const derived = derive(emojiClip, { training: { steps: 7 }, images: { scale: [0.2, 1] } });
    assert.equal(derived.training.steps, 7);
    assert.deepEqual(derived.images.scale, [0.2, 1]);
    assert.equal(derived.training.batchSize, emojiClip.training.batchSize);
    assert.notEqual(emojiClip.training.steps, 7);
    assert.throws(() => derive(emojiClip, { training: { steps: -1 } }));
  });

  test("settings on the command line take numbers, words and lists", () => {
    const changed = applySettings(emojiClip, [
      "training.steps=12",
      "captions.choose=uniform",
      "optimizer.betas=[0.8,0.9]",
      'captions.sources=["bard"]',
      "model.imageSize=48",
    ]);
    assert.equal(changed.training.steps, 12);
    assert.equal(changed.captions.choose, "uniform");
    assert.deepEqual(changed.optimizer.betas, [0.8, 0.9]);
    assert.deepEqual(changed.captions.sources, ["bard"]);
    assert.equal(changed.model.imageSize, 48);
    const several = ["training.steps=12", "training.batchSize=1", "captions.choose=uniform"];
    assert.throws(
      () => applySettings(emojiClip, several),
      /^UsageError: --set training\.batchSize=1: .*expected at least 2/s,
      "the culprit alone",
    );
    const numbers = ["training.steps=1.5", "images.std=[0,1,1]", "optimizer.betas=[0.9,1]"];
    for (const wrong of ["training.stepz=1", "training=1", "nothing", "__proto__.x=1", ...numbers]) {
      assert.throws(() => applySettings(emojiClip, [wrong]), /--set/, wrong);
    }
  });

  test("what a recipe leaves open is not written into it; training fills it in", () => {
    const { training } = recipeSchema.parse(emojiClip);
    const open = ["cudaGraphs", "nonFinite", "rollbacks"] as const;
    for (const name of open) assert.ok(!(name in training), name);
    const settings = trainSettings(training);
    assert.deepEqual(
      open.map((name) => settings[name]),
      [false, 5, 3],
    );
    assert.deepEqual([settings.logEvery, "seed" in settings], [training.logEvery, false]);
    const said = applySettings(emojiClip, ["training.nonFinite=2", "training.rollbacks=0", "training.microBatch=8"]);
    const { nonFinite, rollbacks, microBatch } = trainSettings(said.training);
    assert.deepEqual([nonFinite, rollbacks, microBatch], [2, 0, 8]);
  });

  test("naming steps takes epochs back, and the other way round", () => {
    const steps = applySettings(recipes["laclip-vit-b-16"]!, ["training.steps=3"]);
    assert.deepEqual([steps.training.steps, steps.training.epochs], [3, undefined]);
    const epochs = applySettings(emojiClip, ["training.epochs=1"]);
    assert.deepEqual([epochs.training.steps, epochs.training.epochs], [undefined, 1]);
  });

  test("names that every object has are no recipes", () => {
    assert.throws(() => findRecipe("constructor"), /There is no recipe "constructor"/);
  });

  test("a file with unknown or missing keys is refused by name", () => {
    assert.throws(() => parseRecipe({ ...emojiClip, extra: 1 }, "mine.json"), /mine\.json[^]*extra/);
    const { optimizer: _, ...without } = emojiClip;
    assert.throws(() => parseRecipe(without, "mine.json"), /optimizer/);
    assert.throws(() => findRecipe("emoji-clap"), /There is no recipe "emoji-clap"/);
  });
});
