/** Every kind of objective trains by several processes as it does by one, and steps that go wrong are judged alike by all of them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { readEvents } from "../../src/training/index.ts";
import { assertClose } from "./close.ts";
import { program } from "./laclip.ts";
import { writeCollection, writeRewrites } from "./small-collection.ts";
import { startRanks, withoutGloo } from "./start-ranks.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-methods-on-ranks-"));
const file = join(root, "captions.csv");
const rewrites = join(root, "rewrites");

interface Trial {
  recipe: string;
  out: string;
  settings?: readonly string[];
  /** LACLIP_FAULTS of a rank. */
  faults?: (rank: number) => string;
}

/** Trains, and expects it to end well; what the ranks have said. */
async function train(ranks: number, { recipe, out, settings = [], faults = () => "" }: Trial): Promise<string[]> {
  const all = ["model.preset=nano", "training.batchSize=8", "training.warmupSteps=2", "training.checkpointEvery=2", "training.logEvery=1"];
  const sets = [...all, ...settings].flatMap((setting) => ["--set", setting]);
  const args = ["train", recipe, "--data", file, "--rewrites", rewrites, "--out", join(root, out), ...sets];
  const ended = await startRanks(program, args, ranks, (rank) => ({ LACLIP_FAULTS: faults(rank) })).ended;
  for (const { code, stderr } of ended) assert.equal(code, 0, stderr);
  return ended.map(({ stderr }) => stderr);
}

const events = (out: string, kind: string) => readEvents(join(root, out, "events.jsonl")).filter(({ event }) => event === kind);
const measured = (out: string, measure: string): number[] => events(out, "train").map((event) => Number(event[measure]));

describe("methods by several processes", { skip: withoutGloo() }, () => {
  before(async () => {
    const rows = await writeCollection(root, 24);
    const written = ["bard", "human"].flatMap((source) =>
      rows.map(({ id }, i) => ({ id, source, text: `${source} sees picture ${i % 9}`, weight: source === "bard" ? 0.5 : 1 })),
    );
    await writeRewrites(root, rewrites, written);
  });
  after(() => rmSync(root, { recursive: true }));

  const heads = 'model.viewHead={"hidden": 32, "width": 16}';
  const trials: Record<string, Omit<Trial, "out"> & { split?: readonly string[] }> = {
    "LaCLIP-MT": { recipe: "emoji-laclip-mt", settings: ["objective.maskDuplicates=true"] },
    "LaSLIP, whose view head normalises the batch": { recipe: "emoji-laslip", settings: [heads] },
    "LaSLIP in micro-batches, with colours changed by each rank": {
      recipe: "emoji-laslip",
      settings: [heads, "training.microBatch=3"],
      split: ["training.viewsOn=device"],
    },
  };
  for (const [i, [name, trial]] of Object.entries(trials).entries()) {
    test(`${name}: two ranks take the steps that one takes`, async () => {
      const settings = [...(trial.settings ?? []), "training.steps=4"];
      await train(1, { ...trial, settings, out: `one-${i}` });
      await train(2, { ...trial, settings: [...settings, ...(trial.split ?? [])], out: `two-${i}` });
      for (const measure of ["train/loss", "train/grad_norm", "train/rewritten"]) {
        assert.equal(measured(`two-${i}`, measure).length, 4);
        // Rounding grows from step to step; losses are what the first steps are held to.
        assertClose(measured(`two-${i}`, measure), measured(`one-${i}`, measure), measure, measure === "train/loss" ? 1e-5 : 1e-3);
      }
    });
  }

  test("numbers that are not finite on one rank alone are left out by all, and rolled back by all", async () => {
    const settings = ["training.steps=12", "training.nonFinite=3"];
    const faults = (rank: number): string => (rank === 1 ? "nan@1,nan@5,nan@6,nan@7" : "");
    const wrong = { recipe: "emoji-clip", settings, faults };
    const said = await train(2, { ...wrong, out: "wrong" });
    assert.deepEqual(
      events("wrong", "skipped").map(({ step, reason }) => [step, reason]),
      [
        [2, "not finite"],
        [6, "not finite"],
        [7, "not finite"],
        [8, "not finite"],
      ],
    );
    assert.deepEqual(
      events("wrong", "rollback").map(({ step, to }) => [step, to]),
      [[4, 8]],
    );
    assert.match(said[0]!, /rolled back to the weights of step 4/);
    assert.doesNotMatch(said[1]!, /rolled back/, "one tells what all do");
    // A run of one process, in which the same steps go wrong, goes the same way.
    await train(1, { ...wrong, faults: () => faults(1), out: "wrong-alone" });
    assert.equal(measured("wrong", "train/loss").length, measured("wrong-alone", "train/loss").length);
    assertClose(
      measured("wrong", "train/loss").slice(-4),
      measured("wrong-alone", "train/loss").slice(-4),
      "losses after the roll-back",
      1e-3,
    );
  });
});
