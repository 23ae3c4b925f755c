/** A batch that is spread over ranks has the loss and the gradients of the whole batch, for each objective. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { FeatureGroup } from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { Tensor, cat, manualSeed, ops, randn, scope, tensor } from "../torch/index.ts";
import { type ObjectiveSettings, makeObjective } from "./make-objective.ts";
import type { ObjectiveInput } from "./objective.ts";

const B = 8;
const width = 5;

/** Ranks that take turns in one process: a first round leaves what each has to give, the second sees it all. */
class Turns {
  readonly #given: Tensor[][] = [];
  group(rank: number, ranks: number, round: 1 | 2): FeatureGroup {
    let call = 0;
    if (round === 1) this.#given[rank] = [];
    return {
      rank,
      ranks,
      gather: (rows) => {
        const n = call++;
        if (round === 1) {
          this.#given[rank]!.push(rows.keep());
          return cat(Array.from({ length: ranks }, () => rows.detach()));
        }
        return cat(this.#given.map((given, other) => (other === rank ? rows : given[n]!)));
      },
    };
  }
}

const names = ["imageFeatures", "textFeatures", "viewFeatures", "logitScale", "logitBias"] as const;

function leavesFor(texts: number): Record<(typeof names)[number], Tensor> {
  manualSeed(11);
  return {
    imageFeatures: randn([B, width]).setRequiresGrad(),
    textFeatures: randn([B * texts, width]).setRequiresGrad(),
    viewFeatures: randn([2 * B, width]).setRequiresGrad(),
    logitScale: tensor(6).setRequiresGrad(),
    logitBias: tensor(-2).setRequiresGrad(),
  };
}

function facts(texts: number): Required<Pick<ObjectiveInput, "textWeights" | "textKeys">> {
  manualSeed(12);
  const keys = Array.from({ length: B * texts }, (_, i) => BigInt(i % 7));
  return {
    textWeights: ops.sigmoid(randn([B * texts])),
    textKeys: Tensor.from(BigInt64Array.from(keys), [B * texts]),
  };
}

/** The part of a batch that a rank has. */
function share(leaves: ReturnType<typeof leavesFor>, texts: number, rank: number, ranks: number): ObjectiveInput {
  const own = B / ranks;
  const rows = (x: Tensor, each = 1): Tensor => x.slice(0, rank * own * each, (rank + 1) * own * each);
  const { textWeights, textKeys } = facts(texts);
  return {
    imageFeatures: rows(leaves.imageFeatures),
    textFeatures: rows(leaves.textFeatures, texts),
    viewFeatures: cat([rows(leaves.viewFeatures.slice(0, 0, B)), rows(leaves.viewFeatures.slice(0, B))]),
    logitScale: leaves.logitScale.mul(1),
    logitBias: leaves.logitBias.mul(1),
    textsPerImage: texts,
    textWeights: rows(textWeights, texts),
    textKeys: rows(textKeys, texts),
  };
}

const cases: [settings: ObjectiveSettings, texts: number][] = [
  [{ name: "clip" }, 1],
  [{ name: "clip", maskDuplicates: true }, 1],
  [{ name: "multi-text", denominator: "slot", maskDuplicates: true }, 3],
  [{ name: "multi-text", denominator: "joint", maskDuplicates: true }, 3],
  [{ name: "slip", scale: 1, temperature: 0.1 }, 1],
  [{ name: "multi-text", denominator: "joint", fitSharpness: 2 }, 3],
  [{ name: "multi-text", denominator: "slot", fitSharpness: 2, agreementSharpness: 2 }, 3],
  [{ name: "sigmoid" }, 1],
  [{ name: "sigmoid", maskDuplicates: true }, 3],
  [{ name: "soft-targets", share: 0.3, temperature: 0.2 }, 2],
];

describe("a batch over ranks", () => {
  for (const [settings, texts] of cases) {
    for (const ranks of [2, 4]) {
      test(`${JSON.stringify(settings)}, ${texts} texts, ${ranks} ranks`, () => {
        scope(() => {
          const whole = leavesFor(texts);
          const expected = makeObjective(settings).forward(share(whole, texts, 0, 1));
          expected.loss.backward();

          const split = leavesFor(texts);
          const turns = new Turns();
          const round = (number: 1 | 2) =>
            Array.from({ length: ranks }, (_, rank) =>
              makeObjective(settings, turns.group(rank, ranks, number)).forward(share(split, texts, rank, ranks)),
            );
          round(1);
          const reports = round(2);
          const loss = reports
            .map((report) => report.loss)
            .reduce((a, b) => a.add(b))
            .div(ranks);
          assert.ok(Math.abs(loss.item() / expected.loss.item() - 1) < 1e-5);
          loss.backward();
          for (const name of names) {
            const [a, b] = [split[name].grad, whole[name].grad];
            assert.equal(a === undefined, b === undefined, name);
            if (a === undefined || b === undefined) continue;
            const error = a.sub(b).abs().max().item() / b.abs().max().item();
            assert.ok(error < 1e-5, `${name}: ${error}`);
          }
          const accuracy = reports.reduce((sum, { metrics }) => sum + metrics["accuracy"]!.item() / ranks, 0);
          assert.ok(Math.abs(accuracy - expected.metrics["accuracy"]!.item()) < 1e-6);
        });
      });
    }
  }
});

test("what does not fit together is refused by name", () => {
  scope(() => {
    const input = share(leavesFor(2), 2, 0, 1);
    const refuse = (settings: ObjectiveSettings, changes: Partial<ObjectiveInput>, message: RegExp): void => {
      const objective = makeObjective(settings);
      const refused = (error: unknown): boolean => error instanceof UsageError && message.test(error.message);
      assert.throws(() => objective.forward({ ...input, ...changes }), refused);
      assert.throws(() => objective.backwardByRows({ ...input, ...changes }, 2), refused);
    };
    const oneText = { textFeatures: input.imageFeatures, textsPerImage: 1, textWeights: undefined };
    refuse({ name: "clip" }, {}, /"clip" takes one text/);
    refuse({ name: "multi-text", denominator: "slot" }, { textsPerImage: 3 }, /8 images with 3 texts each need 24 text features, got 16/);
    refuse({ name: "multi-text", denominator: "slot", agreementSharpness: 2 }, oneText, /the texts of an image with each other/);
    refuse({ name: "multi-text", denominator: "slot", maskDuplicates: true }, { textKeys: undefined }, /needs textKeys/);
    refuse(
      { name: "multi-text", denominator: "slot" },
      { textWeights: input.textWeights!.slice(0, 0, 8) },
      /textWeights: expected \[16\], got \[8\]/,
    );
    refuse({ name: "sigmoid" }, { logitBias: undefined }, /needs logitBias/);
    refuse({ name: "slip", scale: 1, temperature: 0.1 }, { viewFeatures: undefined }, /needs viewFeatures/);
    refuse({ name: "slip", scale: 1, temperature: 0.1 }, { viewFeatures: input.imageFeatures }, /16 further views, got features of 8/);
    assert.throws(() => makeObjective({ name: "sigmoid" }).backwardByRows(input, 0), /at least 1, got 0/);
  });
});
