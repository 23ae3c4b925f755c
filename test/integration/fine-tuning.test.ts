/**
 * Runs that begin with another's weights, with frozen towers, with some of the patches, with blocks that are computed again: from the command
 * line to the finished model, through interruptions, by several processes.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { loadTensors } from "../../src/nn/index.ts";
import { loadModel, towerOf } from "../../src/models/index.ts";
import { type RunOptions, applySettings, findRecipe, runRecipe, smoke } from "../../src/recipes/index.ts";
import { InterruptedError, ModelFormatError, UsageError } from "../../src/support/index.ts";
import { readEvents } from "../../src/training/index.ts";
import { assertClose } from "./close.ts";
import { program } from "./laclip.ts";
import { writeCollection } from "./small-collection.ts";
import { startRanks, withoutGloo } from "./start-ranks.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-fine-tuning-"));
const file = join(root, "captions.csv");
const base = join(root, "base", "model");
const small = smoke(findRecipe("emoji-clip"));
before(async () => {
  await writeCollection(root, 32);
  await train("base", []);
});
after(() => rmSync(root, { recursive: true }));

async function train(out: string, settings: readonly string[], options: Partial<RunOptions> = {}) {
  const recipe = applySettings(small, settings);
  return await runRecipe({ recipe, data: { file }, out: join(root, out), ...options });
}

const weights = (folder: string): Map<string, number[]> => {
  const { tensors } = loadTensors(join(folder, "model.safetensors"));
  const found = new Map([...tensors].map(([name, tensor]) => [name, tensor.toArray()]));
  for (const tensor of tensors.values()) tensor.dispose();
  return found;
};
const bytes = (out: string): Buffer => readFileSync(join(root, out, "model", "model.safetensors"));
const losses = (out: string): number[] =>
  readEvents(join(root, out, "events.jsonl")).flatMap(({ event, "train/loss": loss }) => (event === "train" ? [Number(loss)] : []));

/** Trains, is interrupted at its first checkpoint, and goes on. */
async function interrupted(out: string, settings: readonly string[], options: Partial<RunOptions> = {}): Promise<void> {
  const stopping = new AbortController();
  const evaluator = {
    everySteps: 5,
    measures: [],
    evaluate: async () => await Promise.resolve((stopping.abort(), {})),
  };
  await assert.rejects(train(out, settings, { ...options, evaluators: [evaluator], signal: stopping.signal }), InterruptedError);
  await train(out, settings, options);
  assert.ok(readEvents(join(root, out, "events.jsonl")).some(({ event, step }) => event === "resume" && step >= 5));
}

describe("a run that begins with another's weights", () => {
  test("has them at its start, for larger images too, and a new optimiser", async () => {
    // So low a rate that the weights stay what they were, up to rounding.
    const still = ["optimizer.peakLr=1e-12", "optimizer.startLr=0", "optimizer.endLr=0", "training.logEvery=1"];
    await train("begun", still, { initial: { folder: base } });
    const [before, now] = [weights(base), weights(join(root, "begun", "model"))];
    for (const [name, values] of now) assertClose(values, before.get(name)!, name, 1e-5);
    await train("larger", [...still, "model.imageSize=24"], { initial: { folder: base } });
    const larger = loadModel(join(root, "larger", "model"));
    assert.equal(larger.model.config.vision.imageSize, 24);
    const resized = loadModel(base, { imageSize: 24 });
    const positions = (loaded: typeof larger): number[] => loaded.model.stateDict().get("visual.pos_embed")!.toArray();
    assertClose(positions(larger), positions(resized), "positions", 1e-5);
    for (const { model } of [larger, resized]) model.dispose();
  });

  test("is another run than one with other weights, and what does not fit leaves no folder", async () => {
    await assert.rejects(
      train("begun", ["optimizer.peakLr=1e-12", "optimizer.startLr=0", "optimizer.endLr=0", "training.logEvery=1"]),
      (error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, /initialWeights: .*sha256.* there, not set now/);
        return true;
      },
    );
    await assert.rejects(train("misfit", ["model.preset=tiny"], { initial: { folder: base } }), ModelFormatError);
    await assert.rejects(train("misfit", ["model.freeze=image"]), {
      name: "UsageError",
      message: /nobody has trained/,
      mend: /--init-from/,
    });
    for (const frozen of ["text", '{"image": true, "text": 1}']) {
      await assert.rejects(train("misfit", [`model.freeze=${frozen}`], { initial: { folder: base, only: "image" } }), {
        name: "UsageError",
        message: /the text tower .* --init-only image leaves it as it was drawn/,
      });
    }
    await assert.rejects(train("misfit", ['model.freeze={"image": 2}'], { initial: { folder: base } }), /has 1 blocks/);
    assert.ok(!existsSync(join(root, "misfit")));
  });
});

describe("frozen towers", () => {
  test("stay as they were, bit by bit, without moments; the rest learns; a run goes on", async () => {
    for (const freeze of ["image", '{"text": 1}']) {
      const settings = [`model.freeze=${freeze}`, "training.checkpointEvery=4", "optimizer.weightDecay=0.5"];
      const out = `frozen-${freeze === "image" ? "image" : "text"}`;
      await train(out, settings, { initial: { folder: base } });
      await interrupted(`${out}-again`, settings, { initial: { folder: base } });
      assert.ok(bytes(`${out}-again`).equals(bytes(out)));
      const [before, now] = [weights(base), weights(join(root, out, "model"))];
      const checkpoints = join(root, out, "checkpoints");
      const last = readdirSync(checkpoints).toSorted().at(-1)!;
      const moments = loadTensors(join(checkpoints, last, "optimizer.safetensors")).tensors;
      for (const [name, values] of now) {
        const frozen = freeze === "image" ? towerOf(name) === "image" : towerOf(name) === "text" && !/ln_final|text_projection/.test(name);
        if (frozen) assert.deepEqual(values, before.get(name), name);
        else assert.notDeepEqual(values, before.get(name), name);
        assert.equal(moments.has(`first.${name}`), !frozen, name);
      }
    }
  });

  test("LiT: the image tower of one model, a text tower that begins anew", async () => {
    await train("lit", ["model.freeze=image"], { initial: { folder: base, only: "image" } });
    const [before, now] = [weights(base), weights(join(root, "lit", "model"))];
    for (const name of before.keys()) {
      if (towerOf(name) === "image") assert.deepEqual(now.get(name), before.get(name), name);
      else assert.notDeepEqual(now.get(name), before.get(name), name);
    }
  });
});

describe("some of the patches", () => {
  test("are the same again after an interruption, in micro-batches and in blocks that are computed again", async () => {
    const dropping = ["model.imageSize=32", "training.patchDropout=0.5", "training.checkpointEvery=4", "training.logEvery=1"];
    await train("dropped", dropping);
    await interrupted("dropped-again", dropping);
    assert.ok(bytes("dropped-again").equals(bytes("dropped")));
    await train("dropped-parts", [...dropping, "training.microBatch=5", "training.recomputeBlocks=true"]);
    assertClose(losses("dropped-parts"), losses("dropped"), "losses", 1e-4);
    await train("undropped", dropping.with(1, "training.patchDropout=0"));
    assert.ok(Math.abs(losses("undropped")[0]! / losses("dropped")[0]! - 1) > 1e-5, "other patches, another loss");
  });
});

describe("from the command line", () => {
  const settings = ["model.preset=nano", "training.batchSize=8", "training.steps=4", "training.warmupSteps=2", "training.logEvery=1"];
  const call = async (ranks: number, out: string, more: readonly string[], ...flags: string[]) => {
    const sets = [...settings, ...more].flatMap((setting) => ["--set", setting]);
    return await startRanks(program, ["train", "emoji-clip", "--data", file, "--out", join(root, out), ...sets, ...flags], ranks).ended;
  };

  test("several processes freeze, compute again and leave out as one does", { skip: withoutGloo() }, async () => {
    const all = [
      'model.freeze={"image": 1, "text": 0}',
      "training.recomputeBlocks=true",
      "training.patchDropout=0.5",
      "model.imageSize=32",
    ];
    for (const ranks of [1, 2]) {
      const ended = await call(ranks, `ranks-${ranks}`, all, "--init-from", base);
      for (const { code, stderr } of ended) assert.equal(code, 0, stderr);
      assert.match(ended[0]!.stderr, /positions were learnt for images of 16 pixels, and are resized for 32/);
    }
    assertClose(losses("ranks-2"), losses("ranks-1"), "losses", 1e-4);
  });

  test("a model is scored at another image size than its own", async () => {
    const score = async (...flags: string[]) => {
      const args = ["evaluate", "zero-shot", "--model", base, "--dataset", join(root, "images"), "--json", "--predictions", ...flags];
      return (await startRanks(program, args, 1).ended)[0]!;
    };
    const [own, larger, wrong] = await Promise.all([score(), score("--image-size", "32"), score("--image-size", "30")]);
    const images = (stdout: string): unknown => (JSON.parse(stdout) as { images: number }).images;
    assert.deepEqual([own.code, images(own.stdout), larger.code, images(larger.stdout)], [0, 32, 0, 32]);
    assert.notEqual(larger.stdout, own.stdout);
    assert.deepEqual([wrong.code, /multiple of patchSize/.test(wrong.stderr)], [2, true]);
  });

  test("flags that don't go together are usage errors", async () => {
    const [only] = await call(1, "wrong", [], "--init-only", "image");
    assert.deepEqual([only!.code, /give both/.test(only!.stderr)], [2, true]);
    const [tried] = await call(1, "wrong", [], "--smoke", "--init-from", base);
    assert.deepEqual([tried!.code, /a model of its own size/.test(tried!.stderr)], [2, true]);
    const [missing] = await call(1, "wrong", [], "--init-from", root);
    assert.deepEqual([missing!.code, /not a model folder/.test(missing!.stderr)], [3, true]);
  });
});
