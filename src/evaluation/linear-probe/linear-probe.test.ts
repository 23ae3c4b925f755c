import assert from "node:assert/strict";
import { linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { DataError, InterruptedError, ModelFormatError, UsageError } from "../../support/index.ts";
import { Tensor, manualSeed, memoryInfo, ops, randn, scope } from "../../torch/index.ts";
import { LinearClassifier, LogisticRegression, fitProbe, probeMetrics, sgdProbe, strengthSweep } from "./index.ts";

const [classes, width] = [4, 6];

/** Classes that overlap, around the same centres whatever the seed. */
function rows(count: number, seed: number): { features: Tensor; labels: Int32Array } {
  const labels = Int32Array.from({ length: count }, (_, i) => i % classes);
  return scope(() => {
    manualSeed(9);
    const centres = randn([classes, width]);
    manualSeed(seed);
    const own = centres.indexSelect(0, Tensor.from(labels, [count]).to("int64"));
    return {
      features: own
        .add(randn([count, width]))
        .add(2)
        .keep(),
      labels,
    };
  });
}

describe("the search for C", () => {
  test("ends at the best of eight values a decade; of equal ones, at the smallest", async () => {
    for (const peak of [-5.875, -1.25, 0.375, 3, 6]) {
      const { best, tried } = await strengthSweep((strength) => -Math.abs(Math.log10(strength) - peak));
      assert.ok(Math.abs(Math.log10(best.strength) - peak) < 1e-9, `${best.strength}, expected 10^${peak}`);
      assert.ok(tried.length < 16 && tried.every(({ strength }, i) => i === 0 || strength > tried[i - 1]!.strength));
    }
    const { best } = await strengthSweep((strength) => (strength >= 1 ? 0.5 : 0.1));
    assert.ok(Math.abs(best.strength - 10 ** 0) < 1e-9);
  });
});

// Tests that wait count what is alive: nothing may be left to the collector, which may come meanwhile.
describe("the linear probe", () => {
  const train = rows(200, 1);
  const validation = rows(100, 2);
  const held = rows(400, 3);

  test("is fitted to train and validation together, and scores what its classifier does", async () => {
    const live = memoryInfo().live;
    const probe = await fitProbe(train, validation, classes);
    assert.deepEqual([probe.counts, probe.heldOut], [{ train: 200, validation: 100, fitted: 300 }, false]);
    const metrics = probeMetrics(probe.classifier, held);
    assert.ok(metrics.acc1 > 0.5, `${metrics.acc1}`);
    const right = scope(() => probe.classifier.logits(held.features).argmax(1).toArray()).filter((label, i) => label === held.labels[i]);
    assert.equal(right.length / 400, metrics.acc1);
    const both = {
      features: ops.cat([train.features, validation.features]),
      labels: Int32Array.from([...train.labels, ...validation.labels]),
    };
    const direct = await fitProbe(both, undefined, classes, { strength: probe.strength });
    assert.ok(Math.abs(direct.objective - probe.objective) < 1e-5 * direct.objective);
    const guesses = [direct, probe].map(({ classifier }) => scope(() => classifier.logits(held.features).argmax(1).toArray()));
    assert.ok(guesses[0]!.filter((label, i) => label === guesses[1]![i]).length >= 398);
    both.features.dispose();
    for (const { classifier } of [probe, direct]) classifier.dispose();
    assert.ok(memoryInfo().live <= live, "nothing is left behind");
  });

  test("holds out the same part of each class for the same seed", async () => {
    const fit = async (seed: number): Promise<unknown> => {
      const { classifier, sweep, counts, heldOut } = await fitProbe(train, undefined, classes, { seed, validationShare: 0.25 });
      classifier.dispose();
      return { sweep, counts, heldOut };
    };
    const first = (await fit(1)) as { counts: unknown; heldOut: unknown };
    assert.deepEqual([first.counts, first.heldOut], [{ train: 148, validation: 52, fitted: 200 }, true]);
    assert.deepEqual(await fit(1), first);
    assert.notDeepEqual(await fit(2), first);
    const stop = AbortSignal.abort();
    await assert.rejects(fitProbe(train, undefined, classes, { signal: stop }), InterruptedError);
    await assert.rejects(fitProbe(train, undefined, classes, { validationShare: 1 }), UsageError);
  });

  test("labels out of range, one class and features that are no numbers are refused", async () => {
    const { features, labels } = train;
    assert.throws(() => new LogisticRegression({ features, labels: labels.map((label) => label + 1) }, classes), /Row 3 has label 4/);
    assert.throws(() => new LogisticRegression({ features, labels: labels.map(() => 1) }, classes), /one class/);
    scope(() => assert.throws(() => new LogisticRegression({ features: features.mul(NaN), labels }, classes), DataError));
    const regression = new LogisticRegression(train, classes);
    await assert.rejects(regression.fit(0), UsageError);
    regression.dispose();
  });

  test("a feature that never changes and one that is another's copy change nothing but the weights", async () => {
    const odd = scope(() => ops.cat([train.features, train.features.slice(1, 0, 1), ops.full([200, 1], 7)], 1).keep());
    for (const standardise of [false, true]) {
      const regression = new LogisticRegression({ features: odd, labels: train.labels }, classes, { standardise });
      const fit = await regression.fit(10);
      assert.ok(fit.converged && Number.isFinite(fit.objective));
      fit.parameters.dispose();
      regression.dispose();
    }
    odd.dispose();
  });

  test("a fit is stopped between two iterations, with and without a search, and leaves nothing behind", async () => {
    for (const options of [{ strength: 1 }, {}]) {
      const live = memoryInfo().live;
      const stop = new AbortController();
      const fitted = fitProbe(train, validation, classes, { ...options, signal: stop.signal });
      setImmediate(() => stop.abort());
      await assert.rejects(fitted, InterruptedError);
      assert.equal(memoryInfo().live, live);
    }
  });

  test("by descent in steps comes near to L-BFGS, and can be stopped", async () => {
    const descended = await sgdProbe(train, classes, { epochs: 60, batchSize: 50, learningRate: 0.5 });
    const again = await sgdProbe(train, classes, { epochs: 60, batchSize: 50, learningRate: 0.5 });
    const regression = new LogisticRegression(train, classes);
    const { parameters } = await regression.fit(100);
    const exact = LinearClassifier.fromScaled(parameters, regression.scaling);
    assert.ok(Math.abs(probeMetrics(descended, held).acc1 - probeMetrics(exact, held).acc1) < 0.04);
    scope(() => assert.deepEqual(descended.logits(held.features).toArray(), again.logits(held.features).toArray()));
    for (const own of [descended, again, exact, regression, parameters]) own.dispose();
    const live = memoryInfo().live;
    const stop = new AbortController();
    const stopped = sgdProbe(train, classes, { epochs: 1_000_000, batchSize: 50, signal: stop.signal });
    setImmediate(() => stop.abort());
    await assert.rejects(stopped, InterruptedError);
    assert.equal(memoryInfo().live, live, "nothing is left behind");
  });
});

describe("a classifier that is kept", () => {
  test("gives the same logits when it is read again; damaged or misplaced ones are refused", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "laclip-classifier-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const classifier = new LinearClassifier(randn([3, 5]), randn([3]));
    const features = randn([9, 5]);
    const description = {
      classes: ["a", "b", "c"],
      feature: "class-token",
      model: "abc",
      preparation: { imageSize: 32 },
      fitted: { dataset: "x", C: 1 },
    } as const;
    classifier.save(folder, { ...description, classes: [...description.classes] });
    const read = LinearClassifier.load(folder);
    assert.deepEqual(read.classifier.logits(features).toArray(), classifier.logits(features).toArray());
    assert.deepEqual(read.description, description);
    // Under another name, the weights that were there show whether anybody writes to them.
    const [weights, held] = [join(folder, "classifier.safetensors"), join(folder, "held")];
    const before = readFileSync(weights);
    linkSync(weights, held);
    new LinearClassifier(randn([3, 5]), randn([3])).save(folder, { ...description, classes: [...description.classes] });
    assert.deepEqual(readFileSync(held), before);
    assert.throws(() => classifier.logits(randn([2, 4])), /width 4.*width 5/);
    const file = join(folder, "classifier.json");
    writeFileSync(file, readFileSync(file, "utf8").replace('"c"', '"c", "d"'));
    assert.throws(() => LinearClassifier.load(folder), ModelFormatError);
    assert.throws(() => LinearClassifier.load(join(folder, "elsewhere")), DataError);
  });

  test("of equal logits, the right class counts as the last", () => {
    const classifier = new LinearClassifier(Tensor.from(new Float32Array(6), [3, 2]), Tensor.from(Float32Array.from([0, 0, -1]), [3]));
    const [first, second] = classifier.predict({ features: randn([2, 2]), labels: Int32Array.from([0, 2]) });
    assert.deepEqual([first!.rank, second!.rank], [2, 3]);
  });
});
