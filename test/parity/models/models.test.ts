/**
 * The models, the loss, the gradients, the optimiser and autocast against PyTorch running LaCLIP's published code.
 * Fixtures and what they mean: README.md beside this file.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Clip } from "../../../src/models/index.ts";
import { ClipLoss } from "../../../src/objectives/index.ts";
import { AdamW, warmupCosine } from "../../../src/optim/index.ts";
import { Tensor, autocast, noGrad, ops, scope } from "../../../src/torch/index.ts";
import { decayGroups } from "../../../src/training/index.ts";
import { distance, facts, read, shape, withoutEffect } from "./fixtures.ts";

/** Length of the difference of all tensors as one vector, relative to the expected length. */
function vectorDistance(pairs: Iterable<[Tensor, Tensor]>): number {
  let difference = 0;
  let length = 0;
  for (const [actual, expected] of pairs) {
    scope(() => {
      difference += ops.normScalar(actual.detach().to("float32").sub(expected.to("float32"))).item() ** 2;
      length += ops.normScalar(expected.to("float32")).item() ** 2;
    });
  }
  return Math.sqrt(difference / length);
}

describe("parity with LaCLIP's published PyTorch code", () => {
  let model: Clip;
  const weights = read("weights");
  const batches = read("batches");
  const features = read("features");
  const batch = { images: batches.get("images")!, tokens: batches.get("tokens")!, short: batches.get("short_tokens")! };
  const loss = new ClipLoss();

  before(() => {
    model = new Clip(shape, { seed: 1 });
    model.loadStateDict(weights, "weights.safetensors");
  });
  after(() => model.dispose());

  const forward = (images: Tensor, tokens: Tensor) => ({
    imageFeatures: model.encodeImages(images),
    textFeatures: model.encodeTexts(tokens),
  });

  test("image and text features in float32 within 1e-4", () => {
    scope(() => {
      const { imageFeatures, textFeatures } = noGrad(() => forward(batch.images, batch.tokens));
      assert.ok(distance(imageFeatures, features.get("image_features")!) < 1e-5);
      assert.ok(distance(textFeatures, features.get("text_features")!) < 1e-5);
    });
  });

  test("texts cut to the longest of the batch give the features of padded ones", () => {
    scope(() => {
      const cut = batch.short.slice(1, 0, 22).contiguous();
      assert.ok(
        distance(
          noGrad(() => model.encodeTexts(cut)),
          features.get("short_text_features")!,
        ) < 1e-5,
      );
    });
  });

  test("loss, accuracy and the gradient of every parameter within 1e-4", () => {
    const expected = read("gradients");
    scope(() => {
      const report = loss.forward({ ...forward(batch.images, batch.tokens), logitScale: model.logitScale.exp() });
      assert.ok(Math.abs(report.loss.item() / facts.batch.loss - 1) < 1e-5);
      assert.ok(Math.abs(report.metrics["accuracy"]!.item() * 100 - facts.batch.accuracyPercent) < 1e-3);
      report.loss.backward();
      const names = [...model.namedParameters()].map(([name]) => name);
      assert.deepEqual(names.toSorted(), [...expected.keys()].toSorted());
      for (const [name, parameter] of model.namedParameters()) {
        assert.ok(parameter.grad, `${name} has no gradient`);
        if (/k_norm\.bias/.test(name)) continue; // zero but for rounding
        const error = distance(parameter.grad, expected.get(name)!);
        assert.ok(error < 1e-4, `gradient of ${name} is ${error} away`);
      }
      model.zeroGrad();
    });
  });

  test("bf16 autocast: features and loss within 2e-2, gradients as near to fp32 as PyTorch's own", () => {
    const narrow = read("gradients-bf16");
    const exact = read("gradients");
    scope(() => {
      const pair = autocast("cpu", "bfloat16", () => forward(batch.images, batch.tokens));
      assert.ok(distance(pair.imageFeatures, features.get("image_features_bf16")!) < 2e-2);
      assert.ok(distance(pair.textFeatures, features.get("text_features_bf16")!) < 2e-2);
      const report = loss.forward({ ...pair, logitScale: model.logitScale.exp() });
      assert.ok(Math.abs(report.loss.item() / facts.bf16.loss - 1) < 2e-2);
      report.loss.backward();
      // Two programs that round in different places are as far from each other as from the truth: compare distances to the truth.
      const own = model.stateDict();
      const names = [...narrow.keys()];
      const ours = vectorDistance(names.map((name) => [own.get(name)!.grad!, exact.get(name)!]));
      const pytorch = vectorDistance(names.map((name) => [narrow.get(name)!, exact.get(name)!]));
      model.zeroGrad();
      assert.ok(ours < 1.5 * pytorch, `gradients are ${ours} from fp32, PyTorch's ${pytorch}`);
    });
  });

  test("ten AdamW steps with warm-up, decay groups and clamped logit scale within 1e-3", () => {
    const { tenSteps } = facts;
    const groups = decayGroups(model, tenSteps["weightDecay"]!);
    assert.deepEqual([...groups[0]!.parameters.keys()].toSorted(), tenSteps.decayed.toSorted());
    assert.deepEqual([...groups[1]!.parameters.keys()].toSorted(), tenSteps.notDecayed.toSorted());
    const optimizer = new AdamW(groups, { betas: [0.9, 0.98], eps: tenSteps["eps"]! });
    const schedule = warmupCosine({
      peak: tenSteps["peak"]!,
      start: tenSteps["warmupStart"]!,
      end: tenSteps["end"]!,
      warmupSteps: tenSteps["warmupSteps"]!,
      totalSteps: tenSteps["steps"]!,
    });
    noGrad(() => model.logitScale.fill_(tenSteps["logitScaleStart"]!));
    const tokens = batches.get("step_tokens")!;
    for (let step = 0; step < tenSteps["steps"]!; step++) {
      scope(() => {
        assert.ok(Math.abs(schedule(step) - tenSteps.rates[step]!) < 1e-12);
        const images = ops.roll(batch.images, [3 * step, 5 * step], [2, 3]);
        const report = loss.forward({ ...forward(images, tokens.select(0, step)), logitScale: model.logitScale.exp() });
        assert.ok(Math.abs(report.loss.item() / tenSteps.losses[step]! - 1) < 1e-4, `loss of step ${step}`);
        report.loss.backward();
        optimizer.step(schedule(step));
        noGrad(() => model.logitScale.clamp_(0, 4.6052));
        model.zeroGrad();
        assert.ok(Math.abs(model.logitScale.item() - tenSteps.logitScalesAfterStep[step]!) < 1e-4);
      });
    }
    const expected = read("ten-steps");
    for (const [name, parameter] of model.namedParameters()) {
      if (withoutEffect.test(name)) continue;
      const error = distance(parameter, expected.get(name)!);
      assert.ok(error < 1e-3, `${name} is ${error} away after ten steps`);
    }
    optimizer.dispose();
  });
});
