import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import sharp from "sharp";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../models/index.ts";
import { setThreads } from "../../torch/index.ts";
import { openEvaluationDataset } from "../datasets/index.ts";
import { readResults } from "../results/result.ts";
import { runTask } from "./evaluate-all.ts";
import { openEvaluatedModel } from "./evaluated-model.ts";
import { readWrongPictures } from "./wrong-pictures.ts";
import { zeroShotTask } from "./zero-shot-task.ts";

const colours = ["red", "green", "blue", "white", "black"];

describe("zero-shot as a task", () => {
  setThreads(1);
  const folder = mkdtempSync(join(tmpdir(), "laclip-zero-shot-task-"));
  after(() => rmSync(folder, { recursive: true }));

  test("confidence is the softmax at the model's own scale, what is unreadable is told, and what is wrong has its picture", async () => {
    for (const background of colours) {
      mkdirSync(join(folder, "photos", background), { recursive: true });
      const image = sharp({ create: { width: 24, height: 20, channels: 3, background } });
      await image.png().toFile(join(folder, "photos", background, "1.png"));
    }
    writeFileSync(join(folder, "photos/red/2.png"), "no picture");
    const scale = 20;
    saveModel(join(folder, "checkpoints/step-00000007"), {
      model: new Clip({ ...preset("nano"), logitScale: scale }, { seed: 3 }),
      preprocessing: imagenetPreprocessing,
    });
    const model = await openEvaluatedModel(join(folder, "checkpoints/step-00000007"));
    assert.match(model.name, /^laclip-zero-shot-task-\w+\/step-00000007$/, "a checkpoint has its run's name and its step");
    const dataset = await openEvaluationDataset(join(folder, "photos"));
    const plan = await zeroShotTask.plan(model, dataset, { batchSize: 4, device: "cpu", maximumSkipped: 0.5, seed: 0 });
    assert.ok(typeof plan === "object");
    const { result, classified } = await runTask(plan, model, { out: join(folder, "results"), version: "0" });
    model.model.dispose();
    assert.equal(result.laclip!.skipped.count, 1);
    assert.match(result.laclip!.skipped.reasons[0]!, /2\.png/);
    assert.equal(classified!.length, 5);
    for (const { label, guesses, scores, confidence, probability } of classified!) {
      // Five classes: the best five are all, and the softmax can be made of them.
      const odds = scores.map((cosine) => Math.exp(scale * cosine));
      const sum = odds.reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(confidence - odds[0]! / sum) < 1e-4);
      assert.ok(Math.abs(probability - odds[guesses.indexOf(label)]! / sum) < 1e-4);
    }
    assert.ok(Math.abs(result.laclip!.logitScale! - scale) < 1e-3);
    const wrong = classified!.filter(({ label, guesses }) => guesses[0] !== label);
    assert.ok(wrong.length > 0, "weights by chance are not right by chance five times");
    const [stored] = readResults([join(folder, "results")]);
    const pictures = readWrongPictures(stored!);
    assert.deepEqual(pictures.map(({ item }) => item).sort(), wrong.map(({ item }) => item).sort());
    for (const { jpeg, label } of pictures) {
      const { dominant } = await sharp(Buffer.from(jpeg, "base64")).stats();
      const { r, g, b } = dominant;
      const own = [r > 128 && g < 128, g > 64 && r < 128 && b < 128, b > 128 && r < 128, r > 128 && g > 128, r + g + b < 128];
      assert.ok(
        own[["black", "blue", "green", "red", "white"].map((name) => colours.indexOf(name))[label]!],
        `${jpeg.length}: the picture is that of its class`,
      );
    }
  });
});
