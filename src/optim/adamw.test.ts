/** AdamW against its formula in double precision. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Random } from "../support/index.ts";
import { Tensor, full, memoryInfo, noGrad, ops, scope, setThreads, tensor, threads, zeros } from "../torch/index.ts";
import { AdamW, type AdamWOptions } from "./adamw.ts";

const options: AdamWOptions = { betas: [0.9, 0.98], eps: 1e-6 };

/** The formula of Loshchilov & Hutter (2019), algorithm 2, as PyTorch orders it. */
class PlainAdamW {
  readonly first: number[];
  readonly second: number[];
  readonly weights: number[];
  step = 0;
  constructor(weights: readonly number[]) {
    this.weights = [...weights];
    this.first = weights.map(() => 0);
    this.second = weights.map(() => 0);
  }
  update(gradient: readonly number[], lr: number, decay: number, { betas, eps }: AdamWOptions): void {
    this.step++;
    gradient.forEach((g, i) => {
      this.first[i] = betas[0] * this.first[i]! + (1 - betas[0]) * g;
      this.second[i] = betas[1] * this.second[i]! + (1 - betas[1]) * g * g;
      const first = this.first[i] / (1 - betas[0] ** this.step);
      const second = this.second[i] / (1 - betas[1] ** this.step);
      this.weights[i] = this.weights[i]! * (1 - lr * decay) - (lr * first) / (Math.sqrt(second) + eps);
    });
  }
}

function randoms(random: Random, count: number): Float32Array {
  return Float32Array.from({ length: count }, () => 2 * random.uniform() - 1);
}

function parameter(values: Float32Array, shape: readonly number[] = [values.length]): Tensor {
  return Tensor.from(values, shape).setRequiresGrad();
}

describe("AdamW", () => {
  test("thirty steps with weight decay, bias correction and a changing rate, on sizes that end between vector widths", () => {
    for (const size of [1, 7, 33, 40003]) {
      scope(() => {
        const random = Random.of("adamw", size);
        const [start, constant] = [randoms(random, size), randoms(random, size)];
        const decayed = parameter(start);
        const free = parameter(start);
        const [plainDecayed, plainFree] = [new PlainAdamW([...start]), new PlainAdamW([...start])];
        const optimizer = new AdamW(
          [
            { parameters: new Map([["decayed", decayed]]), weightDecay: 0.5 },
            { parameters: new Map([["free", free]]), weightDecay: 0 },
          ],
          options,
        );
        for (let step = 0; step < 30; step++) {
          scope(() => {
            const lr = 1e-2 / (1 + step);
            // A gradient that changes sign and size from step to step.
            const gradient = constant.map((value) => value * Math.cos(step) * 10 ** -(step % 3));
            for (const one of [decayed, free]) one.grad = Tensor.from(gradient, [size]);
            optimizer.step(lr);
            plainDecayed.update([...gradient], lr, 0.5, options);
            plainFree.update([...gradient], lr, 0, options);
          });
        }
        assert.equal(optimizer.steps, 30);
        for (const [actual, plain] of [
          [decayed, plainDecayed],
          [free, plainFree],
        ] as const) {
          actual.toArray().forEach((value, i) => {
            assert.ok(Math.abs(value - plain.weights[i]!) < 2e-6, `size ${size}, weight ${i}: ${value}, expected ${plain.weights[i]}`);
          });
        }
        const moments = optimizer.stateDict();
        moments
          .get("first.free")!
          .toArray()
          .forEach((value, i) => assert.ok(Math.abs(value - plainFree.first[i]!) < 1e-6));
        moments
          .get("second.decayed")!
          .toArray()
          .forEach((value, i) => assert.ok(Math.abs(value - plainDecayed.second[i]!) < 1e-6));
        optimizer.dispose();
      });
    }
  });

  test("a parameter without gradient is left alone, without decay and with its moments", () => {
    scope(() => {
      const [used, unused] = [parameter(Float32Array.of(1)), parameter(Float32Array.of(1))];
      const optimizer = new AdamW(
        [
          {
            parameters: new Map([
              ["used", used],
              ["unused", unused],
            ]),
            weightDecay: 0.5,
          },
        ],
        options,
      );
      used.grad = tensor([1]);
      optimizer.step(0.1);
      assert.ok(Math.abs(used.item() - (1 - 0.05 - 0.1)) < 1e-5);
      assert.equal(unused.item(), 1);
      assert.equal(optimizer.stateDict().get("first.unused")!.item(), 0);
      optimizer.dispose();
    });
  });

  test("the result does not depend on the number of threads, to the last bit", () => {
    const before = threads();
    const weights = [1, 2].map((count) => {
      setThreads(count);
      return scope(() => {
        const random = Random.of("threads");
        const one = parameter(randoms(random, 100001));
        const optimizer = new AdamW([{ parameters: new Map([["w", one]]), weightDecay: 0.1 }], options);
        for (let step = 0; step < 3; step++) {
          one.grad = Tensor.from(randoms(random, 100001), [100001]);
          optimizer.step(0.01);
        }
        optimizer.dispose();
        return Buffer.from(one.toTypedArray().buffer as ArrayBuffer);
      });
    });
    setThreads(before);
    assert.ok(weights[0]!.equals(weights[1]!));
  });

  test("gradients that lie transposed in memory are read right", () => {
    scope(() => {
      const straight = parameter(Float32Array.of(1, 1, 1, 1, 1, 1), [2, 3]);
      const optimizer = new AdamW([{ parameters: new Map([["w", straight]]), weightDecay: 0 }], { betas: [0, 0], eps: 1e6 });
      const turned = tensor([
        [1, 4],
        [2, 5],
        [3, 6],
      ]).transpose(0, 1);
      straight.grad = turned;
      optimizer.step(1e6); // with betas 0 and a large eps the update is nearly the gradient itself
      straight.toArray().forEach((value, i) => assert.ok(Math.abs(value - (1 - (i + 1))) < 1e-4, `${value}`));
      optimizer.dispose();
    });
  });

  test("a backward pass through weights that were updated in between is an error, not a wrong gradient", () => {
    scope(() => {
      const weight = parameter(Float32Array.of(2));
      const optimizer = new AdamW([{ parameters: new Map([["w", weight]]), weightDecay: 0 }], options);
      weight.grad = tensor([1]);
      const early = weight.mul(weight).sum();
      optimizer.step(0.1);
      assert.throws(() => early.backward(), { name: "NativeError", message: /modified by an inplace operation/ });
      optimizer.dispose();
    });
  });

  test("weights that are not float32 or not contiguous are refused", () => {
    scope(() => {
      const double = zeros([2], { dtype: "float64" }).setRequiresGrad();
      double.grad = zeros([2], { dtype: "float64" });
      const first = new AdamW([{ parameters: new Map([["w", double]]), weightDecay: 0 }], options);
      assert.throws(() => first.step(0.1), { name: "NativeError", message: /weight of a parameter is not a contiguous float32/ });
      const turned = zeros([2, 3]).transpose(0, 1).setRequiresGrad();
      turned.grad = zeros([3, 2]);
      const second = new AdamW([{ parameters: new Map([["w", turned]]), weightDecay: 0 }], options);
      assert.throws(() => second.step(0.1), { name: "NativeError", message: /contiguous/ });
      first.dispose();
      second.dispose();
    });
  });

  test("a step makes no tensors, dispose frees the moments", () => {
    const before = memoryInfo();
    scope(() => {
      const weight = parameter(Float32Array.of(1, 2));
      const optimizer = new AdamW([{ parameters: new Map([["w", weight]]), weightDecay: 0 }], options);
      weight.grad = tensor([1, 1]);
      const { live } = memoryInfo();
      optimizer.step(0.1);
      assert.equal(memoryInfo().live, live);
      optimizer.dispose();
    });
    assert.deepEqual(memoryInfo(), before);
  });
});

describe("its state", () => {
  const make = (weight: Tensor): AdamW => new AdamW([{ parameters: new Map([["w", weight]]), weightDecay: 0.1 }], options);

  test("goes on from where it was, to the last bit", () => {
    scope(() => {
      const run = (resume: boolean): number[] => {
        const weight = parameter(Float32Array.of(1, -2, 3));
        let optimizer = make(weight);
        for (let step = 0; step < 6; step++) {
          if (resume && step === 3) {
            const next = make(weight);
            next.loadStateDict(optimizer.stateDict(), optimizer.steps);
            optimizer.dispose();
            optimizer = next;
          }
          weight.grad = noGrad(() => ops.sin(weight.mul(step + 1)));
          optimizer.step(0.05);
        }
        optimizer.dispose();
        return weight.toArray();
      };
      assert.deepEqual(run(true), run(false));
    });
  });

  test("of another model is refused, and nothing is changed", () => {
    scope(() => {
      const optimizer = make(parameter(Float32Array.of(1, 2)));
      const good = (): Map<string, Tensor> =>
        new Map([
          ["first.w", tensor([1, 1])],
          ["second.w", tensor([1, 1])],
        ]);
      for (const [change, words] of [
        [(state: Map<string, Tensor>) => state.delete("second.w"), /second\.w/],
        [(state: Map<string, Tensor>) => state.set("second.w", tensor([1, 1, 1])), /second\.w.*\[2\]/],
        [(state: Map<string, Tensor>) => state.set("first.other", tensor([1])), /first\.other/],
      ] as const) {
        const state = good();
        change(state);
        assert.throws(
          () => optimizer.loadStateDict(state, 5, "run/optimizer.safetensors"),
          (error: Error) =>
            error.name === "ModelFormatError" && error.message.startsWith("run/optimizer.safetensors: ") && words.test(error.message),
        );
        assert.deepEqual(optimizer.stateDict().get("first.w")!.toArray(), [0, 0]);
        assert.equal(optimizer.steps, 0);
      }
      optimizer.loadStateDict(good(), 5);
      assert.equal(optimizer.steps, 5);
      optimizer.dispose();
    });
  });

  test("betas outside [0, 1) and a parameter in two groups are refused", () => {
    scope(() => {
      const weight = parameter(Float32Array.of(1));
      for (const betas of [
        [1, 0.9],
        [0.9, -0.1],
        [NaN, 0.9],
      ] as const) {
        assert.throws(() => new AdamW([], { betas, eps: 1e-8 }), { name: "UsageError", message: /betas/ });
      }
      const group = { parameters: new Map([["w", weight]]), weightDecay: 0 };
      assert.throws(() => new AdamW([group, group], options), { name: "UsageError", message: /"w"/ });
    });
  });
});

test("with its numbers in tensors it takes the same steps, and leaves out what it is told to", () => {
  scope(() => {
    const random = Random.of("capturable");
    const start = randoms(random, 100);
    const slope = randoms(random, 100);
    const runs = [false, true].map((capturable) => {
      const weight = parameter(start);
      const optimizer = new AdamW([{ parameters: new Map([["weight", weight]]), weightDecay: 0.3 }], { ...options, capturable });
      for (let step = 0; step < 10; step++) {
        weight.grad = Tensor.from(
          slope.map((value) => value * Math.cos(step)),
          [100],
        );
        optimizer.step(1e-2 / (1 + step));
      }
      return { weight, optimizer, after: weight.toArray() };
    });
    const [plain, { weight, optimizer, after }] = runs as [(typeof runs)[0], (typeof runs)[0]];
    plain.after.forEach((value, i) => assert.ok(Math.abs(value - after[i]!) < 1e-6, `${value} and ${after[i]}`));

    const moments = (): number[][] => [...optimizer.stateDict().values()].map((tensor) => tensor.toArray());
    const before = moments();
    weight.grad = full([100], NaN);
    optimizer.announce(0.1);
    optimizer.updateAnnounced(full([], 1));
    assert.deepEqual([weight.toArray(), ...moments()], [after, ...before]);
    assert.equal(optimizer.steps, 10);
    for (const { weight: one } of runs) one.grad = Tensor.from(slope, [100]);
    plain.optimizer.step(0.1);
    optimizer.announce(0.1);
    optimizer.updateAnnounced(full([], 0));
    optimizer.countAnnounced();
    plain.weight.toArray().forEach((value, i) => assert.ok(Math.abs(value - weight.toArray()[i]!) < 1e-6));
    assert.equal(optimizer.steps, 11);
    assert.throws(() => optimizer.updateAnnounced(full([1], 0)), { name: "NativeError", message: /not a float32 scalar/ });
    for (const run of runs) run.optimizer.dispose();
  });
});
