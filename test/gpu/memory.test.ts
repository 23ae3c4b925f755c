/**
 * Whole runs in less memory than a batch takes, on a device whose memory ends: what is chosen, what happens when it was too much, and that a
 * run keeps to what it began with.
 */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type RunOptions, applySettings, findRecipe, runRecipe } from "../../src/recipes/index.ts";
import { InterruptedError, NativeError } from "../../src/support/index.ts";
import { deviceMemory, native } from "../../src/torch/index.ts";
import { type RunEvent, readEvents } from "../../src/training/index.ts";
import { writeCollection } from "../integration/small-collection.ts";
import { assertNear } from "./assert-near.ts";
import { standIn, unless } from "./devices.ts";
import { saidMeanwhile } from "./said-meanwhile.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-memory-"));
const file = join(root, "captions.csv");
const batch = 40;
const plenty = 1e12;

// Blocks that are computed again take a libtorch 2.1 there.
const settings = [
  // Many patches, so that a batch takes more than the gradients do.
  "model.preset=nano",
  "model.imageSize=64",
  "model.patchSize=2",
  `training.batchSize=${batch}`,
  "training.steps=4",
  "training.checkpointEvery=4",
  "training.logEvery=1",
  "training.warmupSteps=1",
  "training.recomputeBlocks=false",
];
async function train(out: string, bytes: number, more: string[] = [], rest: Partial<RunOptions> = {}): Promise<void> {
  native().standInMemory(bytes);
  const recipe = applySettings(findRecipe("emoji-clip"), [...settings, ...more]);
  await runRecipe({ recipe, data: { file }, out: join(root, out), device: standIn.device, ...rest });
}
const eventsOf = (out: string): RunEvent[] => readEvents(join(root, out, "events.jsonl"));
const splitsOf = (out: string): RunEvent[] => eventsOf(out).filter(({ event }) => event === "split");
const lossesOf = (out: string): number[] =>
  eventsOf(out).flatMap(({ event, "train/loss": loss }) => (event === "train" ? [Number(loss)] : []));
const weights = (out: string): Buffer => readFileSync(join(root, out, "model", "model.safetensors"));
const remembered = (out: string): unknown => JSON.parse(readFileSync(join(root, out, "splits.json"), "utf8"));

/** Does something after a step, without measuring anything. */
const afterStep = (everySteps: number, what: () => void): NonNullable<RunOptions["evaluators"]>[number] => ({
  everySteps,
  measures: [],
  evaluate: async () => await Promise.resolve((what(), {})),
});

const assertSameLosses = (out: string, other: string): void => assertNear(lossesOf(out), lossesOf(other), 1e-4);

describe("a run in too little memory", unless(standIn), () => {
  /** Bytes in which a whole batch does not fit, and some micro-batch does. */
  let tight = 0;
  /** Bytes in which a whole batch runs out of memory. */
  let short = 0;

  before(async () => {
    await writeCollection(root, batch);
    await train("plenty", plenty, ["training.microBatch=auto"]);
    short = 0.85 * deviceMemory(standIn.device)!.peak;
    const [{ estimate, memory, microBatch } = {} as RunEvent] = splitsOf("plenty");
    assert.equal(microBatch, batch, "with plenty of it, whole batches");
    // What there is without weights, moments and batch is known from what was left for a step.
    const others = plenty - Number(memory) / 0.85;
    tight = others + (0.8 * Number(estimate)) / 0.85;
    await train("tight", tight);
  });
  after(() => {
    native().standInMemory(0);
    rmSync(root, { recursive: true });
  });

  test("has micro-batches that fit, then a faster way when it turns out to fit, and the same losses", () => {
    const [{ microBatch, estimate, memory, reason } = {} as RunEvent, ...others] = splitsOf("tight");
    assert.equal(reason, "memory");
    assert.ok(
      Number(microBatch) < batch && Number(microBatch) > 1 && Number(estimate) <= Number(memory),
      JSON.stringify(splitsOf("tight")),
    );
    // Of so little a model so much is patches that the estimate is far above what it takes.
    assert.deepEqual(
      others.map((event) => [event["reason"], event["step"], event["microBatch"]]),
      [["measured", 2, batch]],
    );
    assertSameLosses("tight", "plenty");
    const [own, other] = ["tight", "plenty"].map((out) => JSON.parse(readFileSync(join(root, out, "config.json"), "utf8")).recipe.training);
    assert.deepEqual({ ...own, microBatch: "auto" }, other, "the split is no setting of the run");
  });

  test("goes on with the splits that it began with, to the same bits", async () => {
    const stopping = new AbortController();
    const evaluators = [afterStep(1, () => stopping.abort())];
    await assert.rejects(train("halved", tight, [], { evaluators, signal: stopping.signal }), InterruptedError);
    for (const out of ["moved", "roomier", "asked"]) cpSync(join(root, "halved"), join(root, out), { recursive: true });
    await train("halved", tight);
    assert.deepEqual(remembered("halved"), remembered("tight"));
    assert.ok(weights("halved").equals(weights("tight")));
  });

  test("says it where other micro-batches are asked for than it had", async () => {
    await train("asked", tight, ["training.microBatch=8"]);
    const { reason, step, microBatch } = splitsOf("asked").at(-1)!;
    assert.deepEqual({ reason, step, microBatch }, { reason: "asked", step: 1, microBatch: 8 });
    assertSameLosses("asked", "plenty");
  });

  test("keeps to a split that was found right where there is more memory by then", async () => {
    const found = { splits: [{ from: 0, microBatch: 8, recomputeBlocks: false }], factor: 0.9 };
    writeFileSync(join(root, "roomier", "splits.json"), JSON.stringify(found));
    await train("roomier", plenty);
    assert.deepEqual(remembered("roomier"), found);
    assertSameLosses("roomier", "plenty");
  });

  test("says it, and goes on, where that does not fit any more", async () => {
    const before = splitsOf("moved").at(-1)!;
    await train("moved", tight * 0.7);
    const after = splitsOf("moved").at(-1)!;
    assert.equal(after["step"], 1);
    assert.ok(Number(after["microBatch"]) < Number(before["microBatch"]), JSON.stringify([before, after]));
    assertSameLosses("moved", "plenty");
  });

  test("takes a step again in smaller parts when memory ends in it, and loses nothing", async () => {
    // Others take memory after the second step, as happens on a GPU that is shared.
    await train("squeezed", plenty, [], { evaluators: [afterStep(2, () => native().standInMemory(short))] });
    const found = splitsOf("squeezed");
    assert.ok(found.length > 0 && found.every(({ reason, step }) => reason === "out of memory" && step === 2), JSON.stringify(found));
    assertSameLosses("squeezed", "plenty");
    assert.equal(eventsOf("squeezed").filter(({ event }) => event === "train").length, 4);
  });

  test("records no steps that are taken in parts, and says so", async () => {
    const said = await saidMeanwhile(() => train("recorded", tight, ["training.cudaGraphs=true"]));
    assert.match(said, /cudaGraphs: steps are not recorded, since the batch is cut into micro-batches/);
    assertSameLosses("recorded", "plenty");
  });

  test("ends with what to do where the recipe allows no smaller parts", async () => {
    const squeeze = afterStep(2, () => native().standInMemory(short));
    await assert.rejects(
      train("fixed", plenty, [`training.microBatch=${batch}`], { evaluators: [squeeze] }),
      (error: unknown) =>
        error instanceof NativeError && /out of memory/.test(error.message) && /training.microBatch=auto/.test(error.mend ?? ""),
    );
    native().standInMemory(0);
    cpSync(join(root, "fixed"), join(root, "smaller"), { recursive: true });
    await train("smaller", plenty, ["training.microBatch=8"]);
    assertSameLosses("smaller", "plenty");
    assert.equal(splitsOf("smaller").at(-1)?.["reason"], undefined, "its first checkpoint was not reached: nothing was taken otherwise");
    await train("fixed", plenty, [`training.microBatch=${batch}`]);
    assert.ok(weights("fixed").equals(weights("plenty")), "started again, it ends as if nothing had been");
  });
});
