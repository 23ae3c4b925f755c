/**
 * Steps with a scaled loss. In float32 a factor that is a power of two changes no bit, so that all of it can be held against plain steps:
 * gradients, weights, what is left out when gradients overflow, several processes, a kill.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { autocast, hasFastFloat16, ops, randn, scope, setTf32, tf32 } from "../../src/torch/index.ts";
import { makeObjective } from "../../src/objectives/index.ts";
import { LossScaler, backwardCached, backwardWhole, trainStep } from "../../src/training/index.ts";
import { program } from "./laclip.ts";
import { NanoRuns } from "./nano-runs.ts";
import { objectives, smallBatch, smallContext } from "./small-training.ts";
import { startRanks, withoutGloo } from "./start-ranks.ts";

type Context = ReturnType<typeof smallContext>;

/** All weights, or gradients, in a row. */
const numbersOf = (model: Context["model"], what: "weights" | "gradients"): number[] =>
  scope(() =>
    [...model.parameters()].flatMap((parameter) => (what === "weights" ? parameter.toArray() : (parameter.grad?.toArray() ?? []))),
  );

describe("a scaled loss", () => {
  for (const [name, example] of Object.entries(objectives)) {
    for (const microBatch of [undefined, 5]) {
      test(`${name}, ${microBatch === undefined ? "whole" : "in micro-batches"}: the gradients are those of the plain loss, bit by bit`, () => {
        const context = smallContext(example);
        const { model } = context;
        const input = smallBatch(0, example.texts);
        const backward = (scaler?: LossScaler): { loss: number; gradients: number[] } => {
          const scaled = { ...context, scaler };
          const loss = scope(() =>
            (microBatch === undefined ? backwardWhole(scaled, input) : backwardCached(scaled, input, microBatch)).loss.item(),
          );
          scaler?.unscale(model.parameters());
          const gradients = numbersOf(model, "gradients");
          model.zeroGrad();
          return { loss, gradients };
        };
        const plain = backward();
        assert.deepEqual(backward(new LossScaler({ start: 2 ** 16 })), plain);
        assert.ok(plain.gradients.some((value) => value !== 0));
        context.dispose();
      });
    }
  }

  test("steps whose gradients overflow are left out, until the factor is small enough; then all goes as without one", () => {
    const [plain, scaled] = [smallContext(objectives["clip"]!), smallContext(objectives["clip"]!)];
    const scaler = new LossScaler({ start: 2 ** 127, growthSteps: 4 });
    const before = numbersOf(scaled.model, "weights");
    const take = (context: Context & { scaler?: LossScaler }, step: number) => trainStep(context, smallBatch(step, 1), 5e-3);
    let left = 0;
    while (take({ ...scaled, scaler }, 0).overflow) {
      left++;
      assert.deepEqual(numbersOf(scaled.model, "weights"), before);
      assert.equal(scaler.scale, 2 ** (127 - left));
    }
    assert.ok(left > 0, "2^127 times a gradient is more than float32 holds");
    take(plain, 0);
    for (let step = 1; step < 4; step++) assert.equal(take({ ...scaled, scaler }, step).loss, take(plain, step).loss);
    assert.deepEqual(numbersOf(scaled.model, "weights"), numbersOf(plain.model, "weights"));
    assert.equal(scaled.optimizer.steps, 4);
    assert.equal(scaler.scale, 2 ** (127 - left + 1), "it has grown after four good steps");
    for (const context of [plain, scaled]) context.dispose();
  });

  test("a loss that is not finite, or a gradient that no factor mends, is no overflow", () => {
    const context = smallContext(objectives["clip"]!);
    const spoiled = (factor: number): Context["objective"] => ({
      ...context.objective,
      needs: context.objective.needs,
      forward: (input) => {
        const report = context.objective.forward(input);
        // The loss stays, its gradient does not.
        return {
          ...report,
          loss: Number.isNaN(factor) ? report.loss.mul(NaN) : report.loss.add(report.loss.sub(report.loss.item()).abs().sqrt()),
        };
      },
      backwardByRows: () => assert.fail("not asked for"),
    });
    const take = (factor: number, start: number) =>
      trainStep({ ...context, objective: spoiled(factor), scaler: new LossScaler({ start }) }, smallBatch(0, 1), 1e-3);
    assert.equal(take(NaN, 1024).overflow, false);
    assert.equal(take(1, 1024).overflow, true);
    const infinite = take(1, 1);
    assert.ok(Number.isFinite(infinite.loss) && !Number.isFinite(infinite.gradientNorm));
    assert.deepEqual([infinite.overflow, infinite.updated], [false, false]);
    // Without a scaler, as far as the norm was asked for.
    const unscaled = trainStep({ ...context, objective: spoiled(1) }, smallBatch(0, 1), 1e-3, { measureGradient: true });
    assert.ok(Number.isFinite(unscaled.loss) && !Number.isFinite(unscaled.gradientNorm));
    assert.equal(unscaled.updated, false);
    assert.equal(context.optimizer.steps, 0);
    context.dispose();
  });
});

describe("precision", () => {
  test("the loss is computed in float32 whatever the features are", () => {
    scope(() => {
      for (const [name, { settings, texts }] of Object.entries(objectives)) {
        if (settings.name === "sigmoid" || settings.name === "slip") continue; // their further inputs are made in float32 besides
        const features = { imageFeatures: randn([6, 8]).to("bfloat16"), textFeatures: randn([6 * texts, 8]).to("bfloat16") };
        const wide = Object.fromEntries(Object.entries(features).map(([key, value]) => [key, value.to("float32")])) as typeof features;
        const logitScale = ops.full([], 50);
        const textKeys = ops.arange(6 * texts);
        const objective = makeObjective(settings);
        const [low, high] = [features, wide].map((both) => objective.forward({ ...both, logitScale, textKeys, textsPerImage: texts }).loss);
        assert.equal(low!.dtype, "float32", name);
        assert.equal(low!.item(), high!.item(), name);
      }
    });
  });

  test("TF32 can be allowed and forbidden, and means nothing to a processor", () => {
    const before = tf32();
    scope(() => {
      const [a, b] = [randn([40, 40]), randn([40, 40])];
      setTf32(true);
      assert.equal(tf32(), true);
      const allowed = a.matmul(b).toArray();
      setTf32(false);
      assert.equal(tf32(), false);
      assert.deepEqual(a.matmul(b).toArray(), allowed);
    });
    setTf32(before);
  });

  test("whether float16 is fast here is found out without leaving autocast on", () => {
    assert.equal(typeof hasFastFloat16(), "boolean");
    assert.equal(hasFastFloat16("cuda"), true);
    scope(() => assert.equal(randn([2, 2]).matmul(randn([2, 2])).dtype, "float32"));
    scope(() => assert.equal(autocast("cpu", "bfloat16", () => randn([2, 2]).matmul(randn([2, 2]))).dtype, "bfloat16"));
  });
});

describe("runs with a scaled loss", () => {
  const runs = new NanoRuns("scaled");
  before(async () => await runs.open());
  after(() => runs.close());
  /** So large that the first steps overflow. */
  const tooLarge = `training.lossScale=${2 ** 126}`;

  test("end with the weights of plain ones; where gradients overflow, they say so, also after a kill", async () => {
    await runs.finished("plain", ["training.steps=6"]);
    await runs.finished("scaled", ["training.steps=6", "training.lossScale=1024"]);
    assert.equal(runs.weights("scaled"), runs.weights("plain"));
    assert.deepEqual(runs.measured("scaled", "train/loss_scale"), [1024, 1024, 1024, 1024, 1024, 1024]);

    const settings = ["training.steps=12", "training.nonFinite=1", tooLarge];
    const stderr = await runs.finished("overflow", settings);
    assert.match(stderr, /Step 1 was left out: its gradients, times the loss scale of 8\.5\d*e\+37, are too large\. The scale is halved/);
    const skipped = runs.events("overflow", "skipped");
    assert.ok(skipped.length > 0 && skipped.length < 12 && skipped.every(({ reason }) => reason === "overflow"));
    assert.doesNotMatch(stderr, /has learnt nothing/);
    const nothing = await runs.finished("nothing", ["training.steps=2", tooLarge]);
    assert.match(nothing, /No step changed the weights: this model has learnt nothing/);
    assert.equal((await runs.train("overflow-killed", settings, { faults: "kill-step@5" })).code, null);
    await runs.finished("overflow-killed", settings);
    assert.equal(runs.weights("overflow-killed"), runs.weights("overflow"));
    assert.deepEqual(runs.measured("overflow-killed", "train/loss_scale"), runs.measured("overflow", "train/loss_scale"));
  });

  test("gradients that overflow on one process are left out by all", { skip: withoutGloo() }, async () => {
    for (const [out, parts] of [
      ["two", []],
      ["two-parts", ["training.microBatch=2"]],
    ] as const) {
      const words = runs.words(out, ["training.steps=8", "training.lossScale=1024", ...parts]);
      const ended = await startRanks(program, words, 2, (rank) => ({ LACLIP_FAULTS: rank === 1 ? "infinite-gradient@5" : "" })).ended;
      for (const { code, stderr } of ended) assert.equal(code, 0, stderr); // checkpoints compare the weights of all
      assert.deepEqual(
        runs.events(out, "skipped").map(({ step, reason }) => [step, reason]),
        [[6, "overflow"]],
      );
      assert.deepEqual(runs.measured(out, "train/loss_scale"), [1024, 1024, 1024, 1024, 1024, 1024, 512, 512]);
    }
  });

  test("float16 is refused where it can't be computed", { skip: hasFastFloat16() && "this processor computes in float16" }, async () => {
    const { code, stderr } = await runs.train("fp16", ["training.steps=2", "training.precision=fp16"]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /does not compute in float16 \(fp16\): that takes a GPU/);
    assert.deepEqual(runs.events("fp16", "start"), [], "no run folder is left behind");
  });
});
