/**
 * Whole runs on a device: from image files to a finished model, with evaluation on the way, interrupted and gone on with elsewhere. What
 * reads models runs there too.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { loadModel } from "../../src/models/index.ts";
import { type RunOptions, applySettings, findRecipe, overfit, runRecipe, smoke } from "../../src/recipes/index.ts";
import { InterruptedError } from "../../src/support/index.ts";
import { torchInfo } from "../../src/torch/index.ts";
import { readEvents } from "../../src/training/index.ts";
import { writeCollection, writeRewrites } from "../integration/small-collection.ts";
import { assertNear } from "./assert-near.ts";
import { devices, gpu, unless } from "./devices.ts";
import { saidMeanwhile } from "./said-meanwhile.ts";

/** From 2.1 on, autograd can be kept from using threads of its own for a device. */
const threadsKeptOut = (([major, minor]) => major! > 2 || (major === 2 && minor! >= 1))(torchInfo().version.split(".").map(Number));

const root = mkdtempSync(join(tmpdir(), "laclip-gpu-"));
const file = join(root, "captions.csv");
const rewrites = join(root, "rewrites");
before(async () => {
  const rows = await writeCollection(root, 32);
  await writeRewrites(
    root,
    rewrites,
    rows.map(({ id }, i) => ({ id, source: "human", text: `someone sees picture ${i % 9}` })),
  );
});
after(() => rmSync(root, { recursive: true }));

const settings = ["training.steps=12", "training.checkpointEvery=4", "training.logEvery=1"];
async function train(
  out: string,
  device: string,
  { recipe = "emoji-laclip", more = [] as string[], ...options } = {},
  rest: Partial<RunOptions> = {},
) {
  return await runRecipe({
    recipe: applySettings(smoke(findRecipe(recipe)), [...settings, ...more]),
    data: { file, rewrites },
    out: join(root, out),
    device,
    ...options,
    ...rest,
  });
}
const losses = (out: string): number[] =>
  readEvents(join(root, out, "events.jsonl")).flatMap(({ event, "train/loss": loss }) => (event === "train" ? [Number(loss)] : []));
const weights = (out: string): Buffer => readFileSync(join(root, out, "model", "model.safetensors"));

/** Stops a run at its first checkpoint. */
async function interrupted(out: string, device: string, more: string[] = [], recipe?: string): Promise<void> {
  const stopping = new AbortController();
  const evaluator = { everySteps: 5, measures: [], evaluate: async () => await Promise.resolve((stopping.abort(), {})) };
  await assert.rejects(
    train(out, device, { more, ...(recipe && { recipe }) }, { evaluators: [evaluator], signal: stopping.signal }),
    InterruptedError,
  );
}

for (const tested of devices) {
  describe(`on ${tested.name}`, () => {
    const { device, close } = tested;
    const name = (what: string): string => `${what}-${device.replace(":", "-")}`;
    const recipes: Record<string, string[]> = {
      "emoji-laclip": [],
      "emoji-slip": ["training.microBatch=4"],
      "emoji-siglip": [],
      "laclip-mt-cc3m-vit-b-16": ["training.recomputeBlocks=true"],
      "laclip-laion400m-vit-b-32": ["training.patchDropout=0.5", "training.microBatch=8"],
    };
    for (const [recipe, more] of Object.entries(recipes)) {
      const needs =
        more.includes("training.recomputeBlocks=true") && !threadsKeptOut
          ? "recomputed blocks off the processor take libtorch 2.1"
          : undefined;
      test(`${recipe} trains as on the processor ${more.join(" ")}`, unless({ skip: tested.skip ?? needs }), async () => {
        await train(`${recipe}-cpu`, "cpu", { recipe, more });
        await train(name(recipe), device, { recipe, more });
        assertNear(losses(name(recipe)), losses(`${recipe}-cpu`), close * 10);
        const { model } = loadModel(join(root, name(recipe), "model"), { device });
        assert.ok(model.parameters().every((parameter) => parameter.device === device));
        model.dispose();
      });
    }

    test("a run goes on from the device to the processor and back", unless(tested), async () => {
      await train("here", "cpu");
      await interrupted(name("there-and-here"), device);
      await train(name("there-and-here"), "cpu");
      await interrupted(name("here-and-there"), "cpu");
      await train(name("here-and-there"), device);
      for (const out of ["there-and-here", "here-and-there"]) assertNear(losses(name(out)), losses("here"), close * 10);
    });

    test("interrupted and gone on with there, a deterministic run ends with the same weights", unless(tested), async () => {
      const more = ["training.deterministic=true"];
      await train(name("whole"), device, { more });
      await interrupted(name("halved"), device, more);
      await train(name("halved"), device, { more });
      assert.ok(weights(name("halved")).equals(weights(name("whole"))));
    });

    test(
      "LaSLIP ends with the same weights, whether loader or device changes colours, or one after the other",
      unless(tested),
      async () => {
        const recipe = "emoji-laslip";
        const common = ["training.deterministic=true", "training.microBatch=5"];
        const [atLoader, there] = ["loader", "auto"].map((where) => [...common, `training.viewsOn=${where}`]) as [string[], string[]];
        await train(name("colours-loader"), device, { recipe, more: atLoader });
        await train(name("colours-there"), device, { recipe, more: there });
        await interrupted(name("colours-halved"), device, there, recipe);
        await train(name("colours-halved"), device, { recipe, more: atLoader });
        for (const out of ["colours-there", "colours-halved"]) {
          assert.deepEqual(losses(name(out)), losses(name("colours-loader")));
          assert.ok(weights(name(out)).equals(weights(name("colours-loader"))), out);
        }
      },
    );

    test(
      "steps that are recorded: the same weights after an interruption, and the losses of steps that are not",
      unless(tested),
      async () => {
        const more = ["training.deterministic=true", "training.cudaGraphs=true"];
        const said = await saidMeanwhile(() => train(name("recorded"), device, { more }));
        assert.doesNotMatch(said, /not recorded|could not be/);
        await interrupted(name("recorded-halves"), device, more);
        await train(name("recorded-halves"), device, { more });
        assert.ok(weights(name("recorded-halves")).equals(weights(name("recorded"))));
        await train(name("plain"), device);
        assertNear(losses(name("recorded")), losses(name("plain")), close * 10);
      },
    );

    test("one batch is learnt by heart there", unless(tested), async () => {
      const recipe = applySettings(findRecipe("emoji-clip"), ["model.preset=nano", "optimizer.peakLr=5e-3"]);
      const report = await overfit({ recipe, device, batchSize: 4, steps: 120 });
      assert.ok(report.last < report.first / 3, JSON.stringify(report));
    });
  });
}

test("where steps can't be recorded that is said, and they are what they were", async () => {
  await train("unrecorded", "cpu");
  const said = await saidMeanwhile(() => train("asked", "cpu", { more: ["training.cudaGraphs=true"] }));
  assert.match(said, /training\.cudaGraphs: steps are not recorded, since the processor has no graphs/);
  assert.ok(weights("asked").equals(weights("unrecorded")));
});

test("a GPU's memory and share of its peak are in the events", unless(gpu), async () => {
  const { run } = await train("measured", gpu.device, { more: ["training.peakTflops=100"] });
  const last = run.events().findLast(({ event }) => event === "train")!;
  assert.ok(Number(last["train/device_memory"]) > 0);
  assert.ok(Number(last["train/mfu"]) > 0 && Number(last["train/mfu"]) < 1);
});

test("bfloat16 and float16 learn on a GPU what float32 learns", unless(gpu), async () => {
  await train("float32", gpu.device);
  for (const precision of ["bf16", "fp16"]) {
    const more = [`training.precision=${precision}`];
    await train(precision, gpu.device, { more });
    assertNear(losses(precision), losses("float32"), 0.05);
    await train(`${precision}-recorded`, gpu.device, { more: [...more, "training.cudaGraphs=true"] });
    assertNear(losses(`${precision}-recorded`), losses("float32"), 0.05);
  }
});

test("200 steps of LaCLIP on a GPU end where the processor's end", unless(gpu), async () => {
  const more = ["training.steps=200", "training.checkpointEvery=200"];
  await train("long-cpu", "cpu", { more });
  await train("long-gpu", gpu.device, { more });
  const end = (out: string): number =>
    losses(out)
      .slice(-20)
      .reduce((sum, loss) => sum + loss, 0) / 20;
  assert.ok(Math.abs(end("long-gpu") - end("long-cpu")) < 0.1 * end("long-cpu"), `${end("long-gpu")} and ${end("long-cpu")}`);
});
