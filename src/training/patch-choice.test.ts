/** Which patches are looked at: how many, each alike often, decided by seed, step and id alone. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { choosePatches, keptPatches } from "./patch-choice.ts";

const options = { seed: 1, step: 5, ids: ["a", "b", "c"], patches: 16, share: 0.5, views: 0 };
const rows = (chosen: Int32Array, kept: number): number[][] =>
  Array.from({ length: chosen.length / kept }, (_, i) => Array.from(chosen.subarray(i * kept, (i + 1) * kept)));

describe("patches of a step", () => {
  test("as many as open_clip keeps, at least one", () => {
    for (const [patches, share, kept] of [
      [196, 0.5, 98],
      [196, 0.75, 49],
      [49, 0.5, 24],
      [4, 0.9, 1],
      [4, 0, 4],
    ] as const) {
      assert.equal(keptPatches(patches, share), kept);
    }
  });

  test("differ from each other, and between images, steps, seeds and views", () => {
    const chosen = choosePatches({ ...options, views: 2 });
    assert.equal(chosen.length, 3 * 3 * 8);
    for (const row of rows(chosen, 8)) {
      assert.equal(new Set(row).size, 8);
      assert.ok(row.every((place) => place >= 0 && place < 16));
    }
    const sets = [chosen, choosePatches({ ...options, step: 6 }), choosePatches({ ...options, seed: 2 })]
      .flatMap((one) => rows(one, 8))
      .map((row) => row.toSorted((a, b) => a - b).join());
    assert.equal(new Set(sets).size, 15);
  });

  test("are an image's own, whoever stands beside it", () => {
    const [, second] = rows(choosePatches(options), 8);
    assert.deepEqual(rows(choosePatches({ ...options, ids: ["b"] }), 8)[0], second);
    assert.deepEqual(rows(choosePatches({ ...options, views: 2 }), 8)[1], second);
  });

  test("each place is as likely as any other", () => {
    const counts = Array.from({ length: 16 }, () => 0);
    const ids = Array.from({ length: 4000 }, (_, i) => `sample ${i}`);
    for (const place of choosePatches({ ...options, ids })) counts[place]!++;
    // 2,000 expected, of deviation 32.
    assert.ok(
      counts.every((count) => Math.abs(count - 2000) < 5 * 32),
      counts.join(" "),
    );
  });
});
