/** `--device` as a person gives it: refused where it can't be had, and no part of what a run is known by. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { torchInfo } from "../../src/torch/index.ts";
import { runLaclip, startLaclip } from "./laclip.ts";
import { NanoRuns, heldBefore, until } from "./nano-runs.ts";

const runs = new NanoRuns("device");
const withoutGpu = torchInfo().cudaDevices === 0;

describe("--device", () => {
  before(async () => await runs.open());
  after(() => runs.close());

  const skip = withoutGpu ? false : "there is a GPU here";
  test("a GPU that is not there is refused with the reason, and no run folder is left", { skip }, async () => {
    for (const words of [
      runs.words("refused", [], ["--device", "cuda"]),
      runs.words("refused", ["training.device=cuda:3"]),
      ["evaluate", "zero-shot", "--model", "nowhere", "--dataset", "nowhere", "--device", "cuda"],
      ["doctor", "--overfit", "--device", "cuda"],
    ]) {
      const { code, stderr } = await runLaclip(words);
      assert.equal(code, 2, `${words.join(" ")}: ${stderr}`);
      assert.match(stderr, /there is no GPU to compute on: \S/);
      assert.match(stderr, /--device cpu/);
    }
    assert.deepEqual(runs.checkpoints("refused"), []);
  });

  test("what is no device is refused", async () => {
    const { code, stderr } = await runLaclip(runs.words("never", [], ["--device", "tpu"]));
    assert.equal(code, 2);
    assert.match(stderr, /--device tpu: there is no such device/);
  });

  test("the plain doctor looks at all there is, and takes no device", async () => {
    const { code, stderr } = await runLaclip(["doctor", "--device", "cpu"]);
    assert.equal(code, 2);
    assert.match(stderr, /--device without --overfit/);
  });

  test("variables of a launcher for training are no matter to what one process does by itself", async () => {
    const launchers: Record<string, string>[] = [{ RANK: "0" }, { WORLD_SIZE: "4" }, { JOB_COMPLETION_INDEX: "0", WORLD_SIZE: "2" }];
    for (const variables of launchers) {
      const words = ["evaluate", "zero-shot", "--model", "nowhere", "--dataset", "nowhere", "--device", "cpu"];
      const { code, stderr } = await runLaclip(words, { env: variables });
      assert.equal(code, 3, stderr);
      assert.match(stderr, /nowhere/);
    }
  });

  test("a run goes on under another word for its device, with the same weights", async () => {
    const settings = ["training.steps=40"];
    assert.equal((await runLaclip(runs.words("whole", settings, ["--device", "cpu"]))).code, 0);
    const words = runs.words("stopped", [...settings, "training.device=cpu"]);
    const stopped = startLaclip(words, { env: { LACLIP_FAULTS: heldBefore(20) } });
    await until(() => runs.checkpoints("stopped").length > 0, stopped);
    stopped.child.kill("SIGTERM");
    assert.equal((await stopped.ended).code, 75);
    const { code, stderr } = await runLaclip(runs.words("stopped", settings, ["--device", "cpu"]));
    assert.equal(code, 0, stderr);
    assert.equal(runs.weights("stopped"), runs.weights("whole"));
    const [start] = runs.events("whole", "start");
    assert.equal(start?.["device"], "cpu");
    const last = runs.events("whole", "train").at(-1)!;
    assert.ok(Number(last["train/tflops"]) > 0);
  });
});
