/**
 * Steps in the memory of a micro-batch: the gradients are those of the whole batch for every objective, and no more than a micro-batch is
 * ever in the towers. And 20 steps of every objective go as they went when their losses were written down.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Tensor, memoryInfo, ops, randn, randomState, scope } from "../../src/torch/index.ts";
import { freeze, towerOf } from "../../src/models/index.ts";
import { backwardCached, backwardWhole, choosePatches } from "../../src/training/index.ts";
import { batchSize, lossCurve, objectives, smallBatch, smallContext } from "./small-training.ts";

const curves = JSON.parse(
  readFileSync(fileURLToPath(new URL("../../../test/integration/loss-curves.json", import.meta.url)), "utf8"),
) as Record<string, number[]>;

/** Gradients of all parameters by name, as plain numbers. */
function gradientsOf(model: ReturnType<typeof smallContext>["model"]): Map<string, number[]> {
  const gradients = scope(() => new Map([...model.namedParameters()].map(([name, { grad }]) => [name, grad?.toArray() ?? []])));
  model.zeroGrad();
  return gradients;
}

const length = (values: readonly number[]): number => Math.hypot(...values);

describe("cached gradients", () => {
  for (const [name, example] of Object.entries(objectives)) {
    test(`${name}: gradients of micro-batches are those of the whole batch`, () => {
      const context = smallContext(example);
      const input = smallBatch(0, example.texts);
      const whole = scope(() => backwardWhole(context, input).loss.item());
      const expected = gradientsOf(context.model);
      const all = length([...expected.values()].flat());
      assert.ok([...expected.values()].filter((gradient) => gradient.length === 0).length === 0, "every parameter takes part");
      for (const microBatch of [1, 5, 16]) {
        const loss = scope(() => backwardCached(context, input, microBatch).loss.item());
        assert.ok(Math.abs(loss / whole - 1) < 1e-5, `${loss}, whole ${whole}`);
        for (const [parameter, gradient] of gradientsOf(context.model)) {
          const reference = expected.get(parameter)!;
          const error = length(gradient.map((value, i) => value - reference[i]!));
          // A gradient that is next to nothing beside all others is rounding.
          assert.ok(error < 1e-5 * Math.max(length(reference), 0.05 * all), `${parameter}, micro-batch ${microBatch}: ${error}`);
        }
      }
      context.dispose();
    });
  }

  for (const name of ["clip", "slip"]) {
    test(`${name}: blocks that are computed again, some of the patches, micro-batches: the same gradients`, () => {
      const context = smallContext(objectives[name]!);
      const input = smallBatch(0, 1);
      const { views: _, ...one } = input;
      const ids = Array.from({ length: batchSize }, (_, i) => `sample ${i}`);
      const patches = choosePatches({ seed: 1, step: 0, ids, patches: 4, share: 0.5, views: name === "slip" ? 2 : 0 });
      const chosen = { ...(name === "slip" ? input : one), patches };
      const of = (recomputes: boolean, microBatch?: number): { loss: number; gradients: Map<string, number[]> } => {
        context.model.recomputesBlocks = recomputes;
        const loss = scope(() =>
          (microBatch === undefined ? backwardWhole(context, chosen) : backwardCached(context, chosen, microBatch)).loss.item(),
        );
        return { loss, gradients: gradientsOf(context.model) };
      };
      const whole = of(false);
      const all = length([...whole.gradients.values()].flat());
      assert.notEqual(
        whole.loss,
        scope(() => backwardWhole(context, name === "slip" ? input : one).loss.item()),
      );
      context.model.zeroGrad();
      for (const [found, limit] of [
        [of(true), 1e-6],
        [of(false, 5), 1e-5],
        [of(true, 5), 1e-5],
      ] as const) {
        assert.ok(Math.abs(found.loss / whole.loss - 1) < limit);
        for (const [parameter, gradient] of found.gradients) {
          const reference = whole.gradients.get(parameter)!;
          const error = length(gradient.map((value, i) => value - reference[i]!));
          assert.ok(error < limit * Math.max(length(reference), 0.05 * all), `${parameter}: ${error}`);
        }
      }
      context.dispose();
    });
  }

  test("a tower that is frozen as a whole is passed through once, and the others have the gradients they had", () => {
    const context = smallContext(objectives["clip"]!);
    const { model } = context;
    const input = smallBatch(0, 1);
    scope(() => void backwardWhole(context, input));
    const expected = gradientsOf(model);
    for (const tower of ["image", "text"] as const) {
      freeze(model, tower);
      let images = 0;
      let texts = 0;
      const watched = Object.create(model, {
        encodeImages: { value: (...given: Parameters<typeof model.encodeImages>): Tensor => (images++, model.encodeImages(...given)) },
        encodeTexts: { value: (ids: Tensor): Tensor => (texts++, model.encodeTexts(ids)) },
        logitScale: { value: model.logitScale },
        logitBias: { value: undefined },
        viewHead: { value: undefined },
        namedParameters: { value: () => model.namedParameters() },
      }) as typeof model;
      scope(() => void backwardCached({ ...context, model: watched }, input, 6));
      assert.deepEqual([images, texts], tower === "image" ? [3, 6] : [6, 3]);
      for (const [name, gradient] of gradientsOf(model)) {
        const reference = towerOf(name) === tower ? [] : expected.get(name)!;
        assert.equal(gradient.length, reference.length, name);
        assert.ok(length(gradient.map((value, i) => value - reference[i]!)) <= 1e-5 * Math.max(length(reference), 0.1), name);
      }
    }
    context.dispose();
  });

  test("no more than a micro-batch is in the towers, and nothing is left behind", () => {
    const { settings, texts } = objectives["multi-text, joint"]!;
    const context = smallContext({ settings });
    const { model } = context;
    const seen: number[] = [];
    const live: number[] = [];
    const watched = Object.create(model, {
      encodeImages: {
        value: (images: Parameters<typeof model.encodeImages>[0]): Tensor => {
          seen.push((images instanceof Tensor ? images : images.bytes).sizeOf(0));
          live.push(memoryInfo().live);
          return model.encodeImages(images);
        },
      },
      encodeTexts: { value: (ids: Tensor): Tensor => (seen.push(ids.sizeOf(0) / texts), model.encodeTexts(ids)) },
      logitScale: { value: model.logitScale },
      logitBias: { value: undefined },
      viewHead: { value: undefined },
      namedParameters: { value: () => model.namedParameters() },
    }) as typeof model;
    const before = memoryInfo().live;
    scope(() => void backwardCached({ ...context, model: watched }, smallBatch(0, texts), 4));
    assert.equal(Math.max(...seen), 4);
    assert.equal(seen.length, 2 * 2 * Math.ceil(batchSize / 4));
    // Of a micro-batch that is done, its features stay in the first pass and nothing in the second.
    const second = live.slice(Math.ceil(batchSize / 4));
    assert.equal(new Set(second.slice(1)).size, 1, `tensors alive before each micro-batch: ${second.join(", ")}`);
    model.zeroGrad();
    assert.equal(memoryInfo().live, before);
    context.dispose();
  });

  test("texts are dealt to micro-batches by length, and none is filled up further than to the longest beside it", () => {
    const { settings, texts } = objectives["clip"]!;
    const context = smallContext({ settings });
    const { model } = context;
    const widths: number[] = [];
    const watched = Object.create(model, {
      encodeImages: { value: (images: Tensor): Tensor => model.encodeImages(images) },
      encodeTexts: { value: (ids: Tensor): Tensor => (widths.push(ids.sizeOf(1)), model.encodeTexts(ids)) },
      logitScale: { value: model.logitScale },
      logitBias: { value: undefined },
      viewHead: { value: undefined },
      namedParameters: { value: () => model.namedParameters() },
    }) as typeof model;
    const input = smallBatch(0, texts);
    const row = (i: number): Int32Array => input.tokens.subarray(i * input.tokenLength, (i + 1) * input.tokenLength);
    const lengths = Array.from({ length: batchSize }, (_, i) => row(i).indexOf(Math.max(...row(i))) + 1).toSorted((a, b) => a - b);
    scope(() => void backwardCached({ ...context, model: watched }, input, 4));
    const expected = [3, 7, 11, 15, 16].map((last) => lengths[last]!);
    assert.deepEqual(widths, [...expected, ...expected]);
    assert.ok(new Set(expected).size > 1);
    model.zeroGrad();
    context.dispose();
  });

  test("what is drawn at random in a tower is drawn alike both times", () => {
    const context = smallContext(objectives["clip"]!);
    const { model } = context;
    const drawn: number[] = [];
    const noisy = Object.create(model, {
      encodeImages: {
        value: (images: Tensor): Tensor =>
          scope(() => {
            const features = model.encodeImages(images);
            const noise = randn(features.shape);
            drawn.push(noise.sum().item());
            return features.add(noise);
          }),
      },
      encodeTexts: { value: (ids: Tensor): Tensor => model.encodeTexts(ids) },
      logitScale: { value: model.logitScale },
      logitBias: { value: undefined },
      viewHead: { value: undefined },
      namedParameters: { value: () => model.namedParameters() },
    }) as typeof model;
    scope(() => void backwardCached({ ...context, model: noisy }, smallBatch(0, 1), 6));
    assert.deepEqual(drawn.slice(0, 3), drawn.slice(3));
    assert.equal(new Set(drawn).size, 3);
    // The generator goes on behind what was drawn, not from its beginning.
    const state = randomState();
    assert.notEqual(randn([2]).sum().item(), drawn[0]);
    assert.ok(!ops.equal(state, randomState()));
    context.dispose();
  });
});

describe("golden loss curves", () => {
  test("there is one for each objective", () => assert.deepEqual(Object.keys(curves), Object.keys(objectives)));

  for (const name of Object.keys(objectives)) {
    for (const microBatch of [undefined, 7]) {
      test(`${name}, ${microBatch === undefined ? "whole batches" : `micro-batches of ${microBatch}`}`, () => {
        const losses = lossCurve(name, 20, microBatch);
        const expected = curves[name]!;
        losses.forEach((loss, step) => {
          // Rounding grows from step to step; a wrong factor or sign shows at once.
          assert.ok(Math.abs(loss / expected[step]! - 1) < 1e-3 * (1 + step / 2), `step ${step}: ${loss}, was ${expected[step]}`);
        });
        const mean = (part: number[]): number => part.reduce((a, b) => a + b) / part.length;
        assert.ok(mean(losses.slice(-5)) < 0.9 * mean(losses.slice(0, 5)), "it learns");
      });
    }
  }
});
