/** Names of parameters, and state dicts that fit or do not. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Tensor, memoryInfo, ones, scope, tensor, zeros } from "../torch/index.ts";
import { LayerNorm, Linear } from "./layers.ts";
import { Module } from "./module.ts";

class Block extends Module {
  readonly scale: Tensor;
  constructor(width: number) {
    super();
    this.child("norm", new LayerNorm(width));
    this.scale = this.parameter("scale", ones([width]));
  }
}

class Tower extends Module {
  readonly blocks: readonly Block[];
  constructor() {
    super();
    this.blocks = this.children("blocks", 2, () => new Block(3));
    this.child("head", new Linear(3, 2, { bias: false }));
    this.parameter("token", zeros([1, 3]));
  }
  twice(what: "parameter" | "child"): void {
    if (what === "parameter") this.parameter("token", ones([1]));
    else this.child("head", new LayerNorm(1));
  }
}

const state = (tower: Tower): Map<string, number[]> => new Map([...tower.stateDict()].map(([name, value]) => [name, value.toArray()]));

/** Weights that fit a Tower, each full of its own number. */
function fitting(): Map<string, Tensor> {
  const tower = new Tower();
  const weights = [...tower.stateDict()].map(([name, { shape }], i): [string, Tensor] => [name, ones(shape).mul(i + 10)]);
  tower.dispose();
  return new Map(weights);
}

describe("names", () => {
  test("own parameters first, then those of the parts in the order they were made, joined by dots", () => {
    const tower = new Tower();
    const names = [...tower.namedParameters()].map(([name]) => name);
    assert.deepEqual(names, [
      "token",
      "blocks.0.scale",
      "blocks.0.norm.weight",
      "blocks.0.norm.bias",
      "blocks.1.scale",
      "blocks.1.norm.weight",
      "blocks.1.norm.bias",
      "head.weight",
    ]);
    assert.deepEqual([...tower.stateDict().keys()], names);
    assert.equal(tower.stateDict().get("blocks.1.scale"), tower.blocks[1]!.scale);
    assert.equal(tower.parameterCount, 3 + 2 * 9 + 6);
    assert.equal(tower.parameters().length, names.length);
    assert.ok(tower.parameters().every((parameter) => parameter.requiresGrad));
    tower.dispose();
  });

  test("a name can't be given twice", () => {
    const tower = new Tower();
    assert.throws(() => tower.twice("parameter"), /parameter token exists/);
    assert.throws(() => tower.twice("child"), /child head exists/);
    tower.dispose();
  });

  test("parameters outlive the scope that made them and die with dispose()", () => {
    const before = memoryInfo();
    const tower = scope(() => {
      const made = new Tower();
      return { hidden: [made] }.hidden[0]!;
    });
    assert.ok(tower.parameters().every((parameter) => !parameter.disposed));
    tower.dispose();
    assert.deepEqual(memoryInfo(), before);
  });
});

describe("loading a state dict", () => {
  test("copies the values, converting the dtype, and keeps the parameters themselves", () => {
    scope(() => {
      const tower = new Tower();
      const before = tower.stateDict();
      const weights = new Map([...fitting()].map(([name, value]) => [name, value.to(name === "token" ? "bfloat16" : "float64")]));
      tower.loadStateDict(weights);
      let i = 10;
      for (const [name, value] of tower.stateDict()) {
        assert.equal(value, before.get(name));
        assert.equal(value.dtype, "float32");
        assert.ok(value.requiresGrad);
        assert.deepEqual(
          value.toArray(),
          Array.from({ length: value.size }, () => i),
        );
        i++;
      }
      weights.get("token")!.zero_();
      assert.deepEqual(tower.stateDict().get("token")!.toArray(), [10, 10, 10]);
      tower.dispose();
    });
  });

  const spoil: [string, (weights: Map<string, Tensor>) => void, RegExp[]][] = [
    ["a missing weight", (weights) => weights.delete("head.weight"), [/missing \(1\): head\.weight/]],
    ["an unexpected weight", (weights) => weights.set("head.bias", ones([2])), [/not in the model \(1\): head\.bias/]],
    ["another shape", (weights) => weights.set("token", ones([3, 1])), [/of another shape \(1\): token: expected \[1, 3\], got \[3, 1\]/]],
    [
      "all of it at once, in a long list cut short",
      (weights) => {
        for (const name of [...weights.keys()].slice(1)) weights.delete(name);
        weights.set("token", ones([4])).set("x", ones([1]));
      },
      [/missing \(7\): blocks\.0\.scale; .*; \.\.\./, /not in the model \(1\): x/, /token: expected \[1, 3\], got \[4\]/],
    ],
  ];
  for (const [what, change, words] of spoil) {
    test(`${what} is told with the origin, and nothing is changed`, () => {
      scope(() => {
        const tower = new Tower();
        const before = state(tower);
        const weights = fitting();
        change(weights);
        assert.throws(
          () => tower.loadStateDict(weights, "some/file.safetensors"),
          (error: Error) => {
            assert.equal(error.name, "ModelFormatError");
            assert.match(error.message, /^some\/file\.safetensors: /);
            for (const word of words) assert.match(error.message, word);
            return true;
          },
        );
        assert.deepEqual(state(tower), before);
        tower.dispose();
      });
    });
  }
});

test("zeroGrad drops the gradients of all parts", () => {
  scope(() => {
    const layer = new Linear(2, 2);
    layer
      .forward(tensor([[1, 2]]))
      .sum()
      .backward();
    assert.deepEqual(layer.bias!.grad!.toArray(), [1, 1]);
    layer.zeroGrad();
    assert.ok(layer.parameters().every((parameter) => parameter.grad === undefined));
    layer.dispose();
  });
});
