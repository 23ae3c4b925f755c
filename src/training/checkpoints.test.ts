/** Checkpoints in one process: what they bring back, which of them stay, and that a deletion that fails harms nothing. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, describe, test } from "node:test";
import { Clip, imagenetPreprocessing, preset } from "../models/index.ts";
import { AdamW } from "../optim/index.ts";
import { manualSeed, noGrad, randn, scope } from "../torch/index.ts";
import { CheckpointWriter } from "./checkpoint-writer.ts";
import {
  type CheckpointState,
  canBeSaved,
  checkpointFolders,
  copyCheckpoint,
  latestCheckpoint,
  pruneCheckpoints,
  restoreCheckpoint,
  sweepCheckpoints,
} from "./checkpoints.ts";
import { decayGroups } from "./parameter-groups.ts";

const top = mkdtempSync(join(tmpdir(), "laclip-checkpoints-"));
const model = new Clip(preset("nano"), { seed: 1 });
const optimizer = new AdamW(decayGroups(model, 0.1), { betas: [0.9, 0.98], eps: 1e-8 });
const parts = { model, preprocessing: imagenetPreprocessing, optimizer };
const writer = new CheckpointWriter();
after(async () => {
  await writer.close();
  optimizer.dispose();
  model.dispose();
  rmSync(top, { recursive: true });
});

const save = async (root: string, state: CheckpointState): Promise<void> => await writer.write(copyCheckpoint(root, { ...parts, state }));
const steps = (root: string): number[] => checkpointFolders(root).map((folder) => Number(basename(folder).slice(5)));
const drawn = (): number[] => scope(() => randn([4]).toArray());

describe("a checkpoint", () => {
  test("brings back weights as they were when it was asked for, the count of updates, and the random generator", async () => {
    const root = join(top, "restored");
    manualSeed(7);
    const scale = model.logitScale.item();
    const written = save(root, { step: 5, updates: 3 });
    const expected = drawn();
    // The copy is taken: what happens to the weights while it is written does not matter.
    noGrad(() => model.logitScale.mul_(2));
    await written;
    const checkpoint = await latestCheckpoint(root);
    restoreCheckpoint(checkpoint!, parts, optimizer);
    assert.equal(model.logitScale.item(), scale);
    assert.equal(optimizer.steps, 3);
    assert.deepEqual(drawn(), expected);
  });

  test("of weights that are not finite is not to be saved", () => {
    assert.ok(canBeSaved(parts));
    const scale = model.logitScale.item();
    noGrad(() => model.logitScale.fill_(NaN));
    assert.ok(!canBeSaved(parts));
    noGrad(() => model.logitScale.fill_(scale));
  });
});

describe("the rule of what stays", () => {
  test("keeps the newest, the newest that a roll-back may go to, and the best", async () => {
    const root = join(top, "kept");
    const guard = { losses: [], gradientNorms: [], notFinite: 0, skipped: 0 };
    await save(root, { step: 2, measures: { "val/x": 0.9 } });
    await save(root, { step: 4, measures: { "val/x": 0.2 }, guard });
    await save(root, { step: 6, guard: { ...guard, notFinite: 1 } });
    await save(root, { step: 7, measures: { "val/x": 0.5 } });
    await save(root, { step: 9 });
    const best = { metric: "val/x", higher: true };
    pruneCheckpoints(root, { newest: 1, every: 2, best });
    // 6 was saved amid steps that were not finite.
    assert.deepEqual(steps(root), [9, 4, 2]);
    assert.equal(basename(realpathSync(join(root, "best"))), "step-00000002");
    pruneCheckpoints(root, { newest: 1, every: 2, best: { ...best, higher: false } });
    assert.deepEqual(steps(root), [9, 4]);
    assert.equal(basename(realpathSync(join(root, "best"))), "step-00000004");
  });

  test("harms nothing when a deletion fails, and the next start removes what is left", async () => {
    const root = join(top, "undeletable");
    for (const step of [1, 2, 3]) await save(root, { step });
    // Something lies where the folder is to step aside.
    const obstacle = join(root, `.removing-${process.pid}-step-00000001`);
    mkdirSync(obstacle);
    writeFileSync(join(obstacle, "file"), "");
    pruneCheckpoints(root, { newest: 1, every: 100 });
    assert.deepEqual(steps(root), [3, 1]);
    truncateSync(join(root, "step-00000003", "model.safetensors"), 100);
    assert.equal((await latestCheckpoint(root))!.step, 1, "the one that could not be removed is whole");
    sweepCheckpoints(root, (step) => step > 1);
    assert.ok(!existsSync(obstacle));
    assert.deepEqual(steps(root), [1]);
  });
});

describe("the writing thread", () => {
  test("says that the disk is full, leaves what was there, and takes the next", async () => {
    const root = join(top, "full");
    await save(root, { step: 1 });
    const job = copyCheckpoint(root, { ...parts, state: { step: 2 } });
    await assert.rejects(writer.write({ ...job, faults: { fullDisk: true } }), { name: "LaclipError", message: /the disk is full/ });
    assert.deepEqual(steps(root), [1]);
    await Promise.all([save(root, { step: 3 }), save(root, { step: 4 })]);
    assert.deepEqual(steps(root), [4, 3, 1]);
    assert.equal((await latestCheckpoint(root))!.step, 4);
  });
});
