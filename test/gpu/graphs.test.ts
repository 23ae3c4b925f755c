/**
 * Recorded steps on a device: the losses and weights of steps that are computed anew, bit by bit, over changing batches, lengths of texts and
 * learning rates. On the stand-in, what is recorded is refused what a GPU refuses, and holds nothing until it is replayed.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  Graph,
  type Tensor,
  asNumbers,
  countWaits,
  full,
  ops,
  releaseMemory,
  scope,
  setDeterministic,
  tensor,
} from "../../src/torch/index.ts";
import {
  LossScaler,
  StepGraphs,
  type StepGraphsOptions,
  StepGuard,
  type StepInput,
  type StepJudge,
  graphObstacle,
  trainStep,
} from "../../src/training/index.ts";
import { NativeError } from "../../src/support/index.ts";
import { batchSize, objectives, smallBatch, smallContext } from "../integration/small-training.ts";
import { devices, gpu, standIn, unless } from "./devices.ts";

const steps = 7;

interface Course {
  losses: number[];
  metrics: Record<string, number>[];
  norms: number[];
  weights: number[];
  graphs: number;
}

/** Some steps, each with another batch and another learning rate. */
function course(
  name: string,
  device: string,
  options: StepGraphsOptions | undefined,
  { scaled = false, change = (input: StepInput): StepInput => input } = {},
): Course {
  const { settings, texts } = objectives[name]!;
  const context = smallContext({ settings }, device);
  const { model } = context;
  const graphs = options && new StepGraphs(options);
  const scaler = scaled ? new LossScaler({ start: 2 ** 127, growthSteps: 2 }) : undefined;
  try {
    const reports = Array.from({ length: steps }, (_, step) => {
      const batch = change(smallBatch(step, texts));
      return trainStep({ ...context, graphs, scaler }, graphs?.prepare(batch, model) ?? batch, 1e-3 * (1 + step), {
        measureGradient: true,
      });
    });
    return {
      losses: reports.map(({ loss }) => loss),
      metrics: reports.map(({ metrics }) => metrics),
      norms: reports.map(({ gradientNorm }) => gradientNorm!),
      weights: scope(() => model.parameters().flatMap((parameter) => parameter.toArray())),
      graphs: graphs?.count ?? 0,
    };
  } finally {
    graphs?.dispose();
    context.dispose();
  }
}

for (const tested of devices) {
  const { device } = tested;
  describe(`on ${tested.name}`, () => {
    // Some of a GPU's kernels add up in another order each time, recorded or not.
    before(() => setDeterministic(tested === gpu));
    after(() => setDeterministic(false));

    for (const name of ["clip", "multi-text, slot", "slip", "sigmoid, several texts"]) {
      test(`${name}: recorded steps are the steps`, unless(tested), () => {
        const plain = course(name, device, { most: 0, tokenStep: 8 });
        const recorded = course(name, device, { tokenStep: 8 });
        // The batches have three shapes, two of which come more than once.
        assert.deepEqual([plain.graphs, recorded.graphs], [0, 2]);
        assert.deepEqual({ ...recorded, graphs: 0 }, plain);
        assert.equal(new Set(plain.losses).size, steps);
        // Spare tokens change no more than rounding.
        course(name, device, undefined).losses.forEach((loss, step) => {
          assert.ok(
            Math.abs(loss / plain.losses[step]! - 1) < Math.max(1e-4, tested.close),
            `step ${step}: ${loss}, ${plain.losses[step]}`,
          );
        });
      });
    }

    test("shapes beyond the most that are kept are computed as ever", unless(tested), () => {
      const recorded = course("clip", device, { most: 1, tokenStep: 8 });
      assert.equal(recorded.graphs, 1);
      assert.deepEqual({ ...recorded, graphs: 0 }, course("clip", device, { most: 0, tokenStep: 8 }));
    });

    test("one graph for all, and a loss that is scaled by another factor each time", unless(tested), () => {
      const plain = course("clip", device, { most: 0 }, { scaled: true });
      const recorded = course("clip", device, {}, { scaled: true });
      assert.equal(recorded.graphs, 1);
      assert.deepEqual({ ...recorded, graphs: 0 }, plain);
    });

    test(
      "a recorded step leaves the weights alone where the limits or numbers that are not finite say so, and learns on after it",
      unless(tested),
      () => {
        // As a course of steps, of which some are judged by limits that they don't keep, and some have weights that spoil their loss.
        const judged = (limits: StepJudge["limits"]): StepJudge => ({
          limits,
          accept: ({ loss, gradientNorm }) =>
            loss <= limits.loss && gradientNorm! <= limits.gradientNorm && Number.isFinite(loss + gradientNorm!),
        });
        const free = { loss: Infinity, gradientNorm: Infinity };
        const plans = [free, free, { ...free, loss: 1e-3 }, free, { ...free, gradientNorm: 1e-3 }, free, free];
        const [plain, recorded] = [0, 4].map((most) => {
          const context = smallContext({ settings: objectives["clip"]!.settings }, device);
          const graphs = new StepGraphs({ most });
          const weights = (): number[] => scope(() => context.model.parameters().flatMap((parameter) => parameter.toArray()));
          const steps = plans.map((limits, step) => {
            const batch = smallBatch(step, 1);
            const textWeights = Float32Array.from({ length: batch.tokens.length / batch.tokenLength }, () => (step === 5 ? NaN : 1));
            const { updated, loss, logitScale } = trainStep(
              { ...context, graphs },
              graphs.prepare({ ...batch, textWeights }, context.model),
              1e-3 * (1 + step),
              { measureGradient: true, judge: judged(limits) },
            );
            return { updated, loss, logitScale, weights: weights() };
          });
          const found = {
            steps,
            count: context.optimizer.steps,
            moments: scope(() => [...context.optimizer.stateDict().values()].map((one) => one.toArray())),
          };
          assert.equal(graphs.count, most === 0 ? 0 : 1);
          graphs.dispose();
          context.dispose();
          return found;
        });
        assert.deepEqual(
          plain!.steps.map(({ updated }) => updated),
          [true, true, false, true, false, false, true],
        );
        assert.equal(plain!.count, 4);
        assert.deepEqual(recorded, plain);
        assert.deepEqual(recorded!.steps[2]!.weights, recorded!.steps[1]!.weights);
        assert.notDeepEqual(recorded!.steps[3]!.weights, recorded!.steps[2]!.weights);
      },
    );

    test("the guard's limits decide on the device as the guard does on the host", unless(tested), () => {
      const [plain, recorded] = [0, 4].map((most) => {
        const context = smallContext({ settings: objectives["clip"]!.settings }, device);
        const graphs = new StepGraphs({ most });
        const guard = new StepGuard({ spikes: true });
        const verdicts = Array.from({ length: 140 }, (_, step) => {
          const batch = smallBatch(step % 4, 1);
          const texts = batch.tokens.length / batch.tokenLength;
          // Near the end the first text alone counts, and loss or norm jump.
          const textWeights = Float32Array.from({ length: texts }, (__, i) => (step > 131 && step % 8 !== 3 && i === 0 ? 1000 : 1));
          const judge: StepJudge = {
            limits: guard.limits(),
            accept: ({ loss, gradientNorm }) => guard.judge({ loss, gradientNorm: gradientNorm! }) === "update",
          };
          return trainStep({ ...context, graphs }, graphs.prepare({ ...batch, textWeights }, context.model), 1e-5, {
            measureGradient: true,
            judge,
          }).updated;
        });
        const weights = scope(() => context.model.parameters().flatMap((parameter) => parameter.toArray()));
        assert.equal(graphs.count, most === 0 ? 0 : 1);
        graphs.dispose();
        context.dispose();
        return { verdicts, weights };
      });
      assert.equal(new Set(plain!.verdicts.slice(128)).size, 2, "some have jumped, others not");
      assert.deepEqual(recorded, plain);
    });

    test("what finds no memory beside a recorded step ends the graphs, not the step, whose update is on its way", unless(tested), () => {
      const context = smallContext({ settings: objectives["clip"]!.settings }, device);
      const graphs = new StepGraphs();
      let [committed, crowded] = [0, false];
      const judge: StepJudge = {
        limits: { loss: Infinity, gradientNorm: Infinity },
        committed: () => committed++,
        accept: () => true,
      };
      const meanwhile = (): void => {
        if (crowded) throw new NativeError("CUDA out of memory. Tried to allocate 20.00 MiB");
      };
      const take = (step: number): number =>
        trainStep({ ...context, graphs, meanwhile }, graphs.prepare(smallBatch(step, 1), context.model), 5e-3, {
          measureGradient: true,
          judge,
        }).loss;
      const losses = [0, 1].map(take);
      assert.deepEqual([graphs.count, committed], [1, 1]);
      crowded = true;
      losses.push(take(2));
      assert.deepEqual([graphs.count, committed, context.optimizer.steps], [0, 2, 3]);
      // Nothing is on its way in a step without a graph: it is the caller's to take again.
      assert.throws(() => take(3), /out of memory/);
      assert.deepEqual([committed, context.optimizer.steps], [2, 3]);
      crowded = false;
      context.model.zeroGrad();
      losses.push(take(3));
      assert.deepEqual(losses, computedAnew(device, 4));
      graphs.dispose();
      context.dispose();
    });

    test("a host that decides otherwise than its limits say is told", unless(tested), () => {
      const context = smallContext({ settings: objectives["clip"]!.settings }, device);
      const graphs = new StepGraphs();
      const take = (step: number, accepts: boolean): object =>
        trainStep({ ...context, graphs }, graphs.prepare(smallBatch(step, 1), context.model), 1e-3, {
          measureGradient: true,
          judge: { limits: { loss: Infinity, gradientNorm: Infinity }, accept: () => accepts },
        });
      [0, 1].forEach((step) => take(step, true));
      assert.throws(() => take(2, false), /the device has decided otherwise/);
      graphs.dispose();
      context.dispose();
    });

    test("a recorded step waits for the device once", unless(tested), () => {
      const context = smallContext({ settings: objectives["clip"]!.settings }, device);
      const graphs = new StepGraphs();
      const take = (step: number): object =>
        trainStep({ ...context, graphs }, graphs.prepare(smallBatch(step, 1), context.model), 5e-3, { measureGradient: true });
      [0, 1].forEach(take);
      assert.equal(graphs.count, 1);
      assert.equal(countWaits(device, () => take(2)).waits, 1);
      graphs.dispose();
      context.dispose();
    });

    test("some of the patches, and texts with weights", unless(tested), () => {
      const change = (batch: StepInput): StepInput => {
        const { views: _, ...input } = batch;
        return {
          ...input,
          patches: Int32Array.from({ length: 2 * batchSize }, (__, i) => (i + input.tokens[1]!) % 4),
          textWeights: Float32Array.from({ length: input.tokens.length / input.tokenLength }, (__, i) => 1 / (1 + (i % 3))),
        };
      };
      const plain = course("multi-text, joint", device, { most: 0 }, { change });
      const recorded = course("multi-text, joint", device, {}, { change });
      assert.equal(recorded.graphs, 1);
      assert.deepEqual({ ...recorded, graphs: 0 }, plain);
      assert.notDeepEqual(course("multi-text, joint", device, {}).losses, recorded.losses);
    });

    test("what is recorded is done when it is replayed, on the same memory", unless(tested), () => {
      scope(() => {
        const x = tensor([1, 2], { device });
        const { graph, result } = Graph.record(device, () => x.mul(3).add(full([2], 1, { device })));
        result.keep();
        for (const value of [5, 7]) {
          x.fill_(value);
          graph.replay();
          assert.deepEqual(result.toArray(), [3 * value + 1, 3 * value + 1]);
        }
        graph.dispose();
        graph.dispose();
        assert.throws(() => graph.replay(), /no such graph/);
        result.dispose();
      });
    });

    test("what a graph can't hold is refused, and the device goes on after it", unless(tested), () => {
      scope(() => {
        const x = tensor([1, 2], { device });
        const refused: ((given: Tensor) => unknown)[] = [
          (given) => given.sum().item(),
          (given) => given.toArray(),
          (given) => given.add(tensor([1, 1], { device })),
          // CUDA itself sees this one, and ends the recording.
          (given) => ops.nonzero(given),
        ];
        for (const body of refused) {
          assert.throws(() => Graph.record(device, () => void body(x)), /not permitted/);
          assert.deepEqual(x.add(1).toArray(), [2, 3]);
          // What the recording had taken of the allocator is given back.
          releaseMemory(device);
          const { graph, result } = Graph.record(device, () => x.mul(2));
          graph.replay();
          assert.deepEqual(result.toArray(), [2, 4]);
          graph.dispose();
        }
      });
    });
  });
}

test("nothing is in the results of a graph before it is replayed", unless(standIn), () => {
  scope(() => {
    const { device } = standIn;
    const { graph, result } = Graph.record(device, () => full([1], 2, { device }).mul(2));
    assert.ok(Number.isNaN(result.item()));
    graph.replay();
    assert.equal(result.item(), 4);
    graph.dispose();
  });
});

test("a step with a number that is read in its middle is caught, and steps go on without graphs", unless(standIn), () => {
  const { device } = standIn;
  const { settings } = objectives["clip"]!;
  const context = smallContext({ settings }, device);
  const graphs = new StepGraphs();
  const objective: typeof context.objective = {
    name: "reads",
    needs: {},
    forward: (input) => {
      const report = context.objective.forward(input);
      return { ...report, loss: report.loss.mul(report.loss.item() > 0 ? 1 : 2) };
    },
    backwardByRows: () => assert.fail("not asked for"),
  };
  const take = (step: number): number =>
    trainStep({ ...context, objective, graphs }, graphs.prepare(smallBatch(step, 1), context.model), 5e-3, { measureGradient: true }).loss;
  const losses = [0, 1, 2].map(take);
  assert.equal(graphs.count, 0);
  assert.deepEqual(losses, computedAnew(device, 3));
  graphs.dispose();
  context.dispose();
});

/** Losses of steps that are computed anew. */
function computedAnew(device: string, count: number): number[] {
  const context = smallContext({ settings: objectives["clip"]!.settings }, device);
  const graphs = new StepGraphs({ most: 0 });
  const losses = Array.from(
    { length: count },
    (_, step) =>
      trainStep({ ...context, graphs }, graphs.prepare(smallBatch(step, 1), context.model), 5e-3, { measureGradient: true }).loss,
  );
  context.dispose();
  return losses;
}

test("where recorded steps leave too little memory for others, they are given up, and no step is lost", unless(standIn), () => {
  const { device } = standIn;
  const context = smallContext({ settings: objectives["clip"]!.settings }, device);
  const graphs = new StepGraphs();
  let crowded = false;
  const objective: typeof context.objective = {
    name: "fills memory",
    needs: {},
    forward: (input) => {
      if (crowded && graphs.count > 0) throw new NativeError("CUDA out of memory. Tried to allocate 20.00 MiB");
      return context.objective.forward(input);
    },
    backwardByRows: () => assert.fail("not asked for"),
  };
  const take = (step: number, change: Partial<StepInput> = {}): number =>
    trainStep({ ...context, objective, graphs }, { ...graphs.prepare(smallBatch(step, 1), context.model), ...change }, 5e-3, {
      measureGradient: true,
    }).loss;
  const losses = [0, 1].map((step) => take(step));
  assert.equal(graphs.count, 1);
  crowded = true;
  losses.push(take(2, { tokenStep: 128 }), take(3));
  assert.equal(graphs.count, 0);
  computedAnew(device, 4).forEach((loss, step) => assert.ok(Math.abs(losses[step]! / loss - 1) < 1e-5));
  context.dispose();
});

test("what keeps steps from being recorded is said", unless(standIn), () => {
  const context = smallContext({ settings: objectives["clip"]!.settings });
  const { device } = standIn;
  const { model } = context;
  const ranks = { arm: () => {}, finish: () => {}, means: asNumbers };
  const asked = { model, device, ranks: undefined, microBatch: undefined };
  assert.equal(graphObstacle(asked), undefined);
  assert.match(graphObstacle({ ...asked, device: "cpu" })!, /processor/);
  assert.match(graphObstacle({ ...asked, microBatch: 4 })!, /micro-batches/);
  assert.match(graphObstacle({ ...asked, ranks })!, /other processes/);
  model.recomputesBlocks = true;
  assert.match(graphObstacle(asked)!, /computed again/);
  context.dispose();
});
