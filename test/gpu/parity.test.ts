/** LaCLIP's published code on a processor against this program on a device: features, loss, gradients, and ten steps. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Clip } from "../../src/models/index.ts";
import { ClipLoss } from "../../src/objectives/index.ts";
import { AdamW } from "../../src/optim/index.ts";
import { type Tensor, autocast, noGrad, ops, scope } from "../../src/torch/index.ts";
import { decayGroups } from "../../src/training/index.ts";
import { distance, facts, read, shape, withoutEffect } from "../parity/models/fixtures.ts";
import { devices, gpu, unless } from "./devices.ts";

const loss = new ClipLoss();
const batches = read("batches");
const features = read("features");
const here = (x: Tensor): Tensor => x.to({ device: "cpu" });

/** Runs `body` with the fixtures' model, which is gone afterwards. */
function withModel(device: string, body: (model: Clip, of: (name: string) => Tensor) => void): void {
  const model = new Clip(shape, { seed: 1 });
  model.loadStateDict(read("weights"), "weights.safetensors");
  model.moveTo(device);
  try {
    scope(() => body(model, (name) => batches.get(name)!.to({ device })));
  } finally {
    model.dispose();
  }
}
const forward = (model: Clip, images: Tensor, tokens: Tensor) => ({
  imageFeatures: model.encodeImages(images),
  textFeatures: model.encodeTexts(tokens),
});

for (const tested of devices) {
  const { device, close } = tested;
  describe(`parity on ${tested.name}`, () => {
    test("features, loss and the gradient of every parameter", unless(tested), () => {
      withModel(device, (model, of) => {
        const pair = forward(model, of("images"), of("tokens"));
        assert.ok(distance(here(pair.imageFeatures), features.get("image_features")!) < close);
        assert.ok(distance(here(pair.textFeatures), features.get("text_features")!) < close);
        const report = loss.forward({ ...pair, logitScale: model.logitScale.exp() });
        assert.ok(Math.abs(report.loss.item() / facts.batch.loss - 1) < close);
        report.loss.backward();
        const expected = read("gradients");
        for (const [name, parameter] of model.namedParameters()) {
          assert.ok(parameter.grad, `${name} has no gradient`);
          if (/k_norm\.bias/.test(name)) continue; // zero but for rounding
          const error = distance(here(parameter.grad), expected.get(name)!);
          assert.ok(error < close, `gradient of ${name} is ${error} away`);
        }
      });
    });

    test("ten AdamW steps", unless(tested), () => {
      withModel(device, (model, of) => {
        const { tenSteps } = facts;
        const optimizer = new AdamW(decayGroups(model, tenSteps["weightDecay"]!), { betas: [0.9, 0.98], eps: tenSteps["eps"]! });
        noGrad(() => model.logitScale.fill_(tenSteps["logitScaleStart"]!));
        const [images, tokens] = [of("images"), of("step_tokens")];
        tenSteps.rates.forEach((rate, step) => {
          scope(() => {
            const rolled = ops.roll(images, [3 * step, 5 * step], [2, 3]);
            const report = loss.forward({ ...forward(model, rolled, tokens.select(0, step)), logitScale: model.logitScale.exp() });
            const found = report.loss.item();
            assert.ok(Math.abs(found / tenSteps.losses[step]! - 1) < close, `step ${step}: ${found}, expected ${tenSteps.losses[step]}`);
            report.loss.backward();
            optimizer.step(rate);
            noGrad(() => model.logitScale.clamp_(0, 4.6052));
            model.zeroGrad();
          });
        });
        const expected = read("ten-steps");
        for (const [name, parameter] of model.namedParameters()) {
          if (withoutEffect.test(name)) continue;
          const error = distance(here(parameter), expected.get(name)!);
          assert.ok(error < close * 10, `${name} is ${error} away after ten steps`);
        }
        optimizer.dispose();
      });
    });
  });
}

test("bfloat16 on a GPU: features and loss within 2e-2", unless(gpu), () => {
  withModel(gpu.device, (model, of) => {
    const pair = autocast(gpu.device, "bfloat16", () => forward(model, of("images"), of("tokens")));
    assert.ok(distance(here(pair.imageFeatures), features.get("image_features_bf16")!) < 2e-2);
    assert.ok(distance(here(pair.textFeatures), features.get("text_features_bf16")!) < 2e-2);
    const report = loss.forward({ ...pair, logitScale: model.logitScale.exp() });
    assert.ok(Math.abs(report.loss.item() / facts.bf16.loss - 1) < 2e-2);
  });
});
