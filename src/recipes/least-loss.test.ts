/** The least loss of batches for which it can be worked out by hand. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ObjectiveSettings, makeObjective } from "../objectives/index.ts";
import { Tensor, randomState, scope } from "../torch/index.ts";
import { leastLoss } from "./least-loss.ts";

const count = 8;
const rows = (texts = 1): number[] => Array.from({ length: count * texts }, (_, i) => i);
/** Rows 0 and 1 are the same, and so are 2, 3 and 4. */
const alike = (texts = 1): number[] =>
  rows(texts).map((row) => (row < 2 * texts ? row % texts : row < 5 * texts ? 2 * texts + (row % texts) : row));
const same = (texts = 1): number[] => rows(texts).map(() => 0);

const near = (got: number, expected: number, label: string): void =>
  assert.ok(Math.abs(got - expected) < 0.02, `${label}: ${got}, expected ${expected}`);
const least = (settings: ObjectiveSettings, images: number[], texts: number[], more: object = {}): number =>
  scope(() => leastLoss(makeObjective(settings), { images, texts }, more));

describe("the least loss of a batch", () => {
  const undecided = (2 * Math.log(2) + 3 * Math.log(3)) / count;

  test("clip: nothing where all differ, ln m for each of m equal ones, ln B for a model that sees nothing", () => {
    const clip = { name: "clip" } as const;
    near(least(clip, rows(), rows()), 0, "all differ");
    near(least(clip, rows(), alike()), undecided, "texts alike");
    near(least(clip, alike(), rows()), undecided, "images alike");
    near(least(clip, same(), same()), Math.log(count), "guessing");
    const state = scope(() => randomState().toArray());
    least(clip, rows(), rows());
    assert.deepEqual(
      scope(() => randomState().toArray()),
      state,
      "the generator is left as it was",
    );
  });

  test("clip without pairs that are duplicates: equal captions leave nothing undecided", () => {
    const textKeys = Tensor.from(BigInt64Array.from(alike(), BigInt), [count]);
    near(least({ name: "clip", maskDuplicates: true }, rows(), alike(), { textKeys }), 0, "masked");
  });

  test("several texts: slot by slot nothing, jointly ln K on the image's side", () => {
    const texts = { textsPerImage: 3 };
    near(least({ name: "multi-text", denominator: "slot" }, rows(), rows(3), texts), 0, "slot");
    near(least({ name: "multi-text", denominator: "joint" }, rows(), rows(3), texts), Math.log(3) / 2, "joint");
  });

  test("sigmoid: nothing, and for equal texts the entropy of the question whose they are", () => {
    const sigmoid = { name: "sigmoid" } as const;
    near(least(sigmoid, rows(), rows()), 0, "all differ");
    const entropy = (m: number): number => -Math.log(1 / m) / m - (1 - 1 / m) * Math.log(1 - 1 / m);
    // Of m images that share a text, each asks of m texts whether they are its own: one is.
    near(least(sigmoid, rows(), alike()), (2 * 2 * entropy(2) + 3 * 3 * entropy(3)) / count, "texts alike");
    near(least(sigmoid, same(), same()), count * entropy(count), "guessing");
  });

  test("soft targets and views: what is left is little", () => {
    near(least({ name: "soft-targets", share: 0.2, temperature: 0.1 }, rows(), rows()), 0, "soft");
    const slip = makeObjective({ name: "slip", scale: 1, temperature: 0.1 });
    const views = [...rows(), ...rows().map((row) => row + count)];
    near(
      scope(() => leastLoss(slip, { images: rows(), texts: rows(), views }, {})),
      0,
      "slip",
    );
    const blind = Array.from(views, () => 0);
    near(
      scope(() => leastLoss(slip, { images: same(), texts: same(), views: blind }, {})),
      Math.log(count) + Math.log(2 * count - 1),
      "slip, guessing",
    );
  });
});
