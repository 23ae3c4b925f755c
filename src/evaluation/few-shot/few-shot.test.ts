import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DataError, InterruptedError, Random, UsageError } from "../../support/index.ts";
import { Tensor } from "../../torch/index.ts";
import { EpisodeDraw, fewShot } from "./index.ts";

/** Rows around a centre for each class; `spread` 0 puts all rows of a class on one point. */
function rows(labels: readonly number[], spread: number, seed: number): { features: Tensor; labels: Int32Array } {
  const random = Random.of(seed);
  const values = labels.flatMap((label) =>
    Array.from({ length: 8 }, (_, d) => (d === label ? 1 : 0) + 3 + spread * (random.uniform() - 0.5)),
  );
  return { features: Tensor.from(Float32Array.from(values), [labels.length, 8]), labels: Int32Array.from(labels) };
}

const repeated = (classes: number, each: number): number[] => Array.from({ length: classes * each }, (_, i) => i % classes);

describe("episodes", () => {
  const shape = { ways: 3, shots: 2, queries: 4 };

  test("have the classes, shots and queries that were asked for, none of them twice, and depend on the seed alone", () => {
    const [support, query] = [Int32Array.from(repeated(6, 5)), Int32Array.from(repeated(6, 4))];
    const draw = new EpisodeDraw(support, query, shape, 1);
    const again = new EpisodeDraw(support, query, shape, 1);
    again.episode(5);
    const seen = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const episode = draw.episode(i);
      assert.deepEqual(again.episode(i), episode);
      assert.deepEqual(
        episode.support.map((row) => support[row]!),
        episode.classes.flatMap((label) => [label, label]),
      );
      assert.deepEqual(
        episode.query.map((row) => query[row]!),
        episode.classes.flatMap((label) => [label, label, label, label]),
      );
      assert.equal(new Set(episode.support).size, 6);
      assert.equal(new Set(episode.query).size, 12);
      seen.add(JSON.stringify(episode));
    }
    assert.equal(seen.size, 20);
    assert.notDeepEqual(new EpisodeDraw(support, query, shape, 2).episode(0), draw.episode(0));
  });

  test("from one list of images show none that they ask for", () => {
    const draw = new EpisodeDraw(Int32Array.from(repeated(4, 7)), undefined, shape, 0);
    for (let i = 0; i < 50; i++) {
      const { support, query } = draw.episode(i);
      assert.equal(new Set([...support, ...query]).size, 18);
    }
  });

  test("leave out classes with too few images, and are refused where too few are left", () => {
    const labels = Int32Array.from([...repeated(3, 6), 3, 3, 3]);
    const draw = new EpisodeDraw(labels, undefined, shape, 0);
    assert.deepEqual([draw.classes, draw.tooSmall], [[0, 1, 2], 1]);
    assert.throws(() => new EpisodeDraw(labels, undefined, { ...shape, ways: 4 }, 0), DataError);
    assert.throws(() => new EpisodeDraw(labels, undefined, { ...shape, ways: 1 }, 0), UsageError);
  });
});

describe("few-shot accuracy", () => {
  test("is 1 for classes apart, near chance for features without them, and the interval narrows with the episodes", async () => {
    const labels = repeated(6, 20);
    const apart = await fewShot(rows(labels, 0.1, 0), rows(labels, 0.1, 1), { episodes: 30 });
    assert.deepEqual([apart.accuracy, apart.interval, apart.perEpisode.length], [1, 0, 30]);
    const noise = (seed: number): ReturnType<typeof rows> => ({ ...rows(repeated(1, 120), 1, seed), labels: Int32Array.from(labels) });
    const few = await fewShot(noise(2), noise(3), { episodes: 30 });
    const many = await fewShot(noise(2), noise(3), { episodes: 1000 });
    assert.ok(Math.abs(many.accuracy - 0.2) < 0.03, `${many.accuracy}`);
    assert.ok(many.interval < few.interval / 3);
    assert.deepEqual([...many.perEpisode.subarray(0, 30)], [...few.perEpisode], "the first episodes are the same");
    await assert.rejects(fewShot(noise(2), noise(3), { episodes: 1 }), UsageError);
    await assert.rejects(fewShot(noise(2), noise(3), { signal: AbortSignal.abort() }), InterruptedError);
  });
});
