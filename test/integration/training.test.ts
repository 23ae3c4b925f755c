/**
 * Training as a person runs it: the command line in processes of its own, on real image files, interrupted and damaged in every way
 * that a long run meets.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { after, before, describe, test } from "node:test";
import { type Ended, type Started, runLaclip, startLaclip } from "./laclip.ts";
import { NanoRuns, colours, heldBefore, plainPicture, until } from "./nano-runs.ts";

const runs = new NanoRuns("training");
const { root, data } = runs;

const laclip = async (...args: string[]): Promise<Ended> => await runLaclip(args, { env: { LACLIP_FEATURES: join(root, "features") } });
const trainArguments = (out: string, ...settings: string[]): string[] => runs.words(out, settings, ["--json"]);
/** Starts a run that would not come to its end by itself. */
const startHeld = (step: number, args: readonly string[]): Started => startLaclip(args, { env: { LACLIP_FAULTS: heldBefore(step) } });

describe("training", () => {
  before(async () => await runs.open());
  after(() => runs.close());

  test("the same seed gives the same weights bit by bit, another seed others", async () => {
    for (const [out, seed] of [
      ["same-a", 1],
      ["same-b", 1],
      ["other", 2],
    ] as const) {
      const { code, stderr } = await laclip(...trainArguments(out, "training.steps=5", `training.seed=${seed}`));
      assert.equal(code, 0, stderr);
    }
    assert.equal(runs.weights("same-a"), runs.weights("same-b"));
    assert.notEqual(runs.weights("same-a"), runs.weights("other"));
  });

  test("a run whose steps are profiled ends with the same weights, and says where their time went", async () => {
    const { code, stderr } = await laclip(...trainArguments("profiled", "training.steps=10"), "--profile", "2");
    assert.equal(code, 0, stderr);
    const folder = join(root, "profiled", "profile");
    const [tables, trace] = [readFileSync(join(folder, "steps-7-8.md"), "utf8"), readFileSync(join(folder, "steps-7-8.json.gz"))];
    assert.match(stderr, /ms a step: .*steps-7-8\.md says more/);
    assert.match(tables, /# Steps 7 to 8 on cpu\n/);
    assert.match(tables, /\| matrix products \| [\d.]+ \| [\d.]+ % \| \d+ \|/);
    const { traceEvents } = JSON.parse(gunzipSync(trace).toString()) as { traceEvents: { name: string }[] };
    assert.equal(traceEvents.filter(({ name }) => name === "laclip::cut_patches").length, 2, "one in each step");
    assert.equal((await laclip(...trainArguments("unprofiled", "training.steps=10"))).code, 0);
    assert.equal(runs.weights("profiled"), runs.weights("unprofiled"));

    const short = await laclip(...trainArguments("too-short", "training.steps=5"), "--profile", "2");
    assert.equal(short.code, 0, short.stderr);
    assert.match(short.stderr, /No step was recorded: that begins after 5 steps/);
    const cut = await laclip(...trainArguments("cut-short", "training.steps=7"), "--profile", "20");
    assert.equal(cut.code, 0, cut.stderr);
    assert.match(readFileSync(join(root, "cut-short", "profile", "steps-6-6.md"), "utf8"), /the mean of 1;/);
  });

  test("a run that is killed and started again ends with the weights of one that was not", async () => {
    assert.equal((await laclip(...trainArguments("whole", "training.steps=40"))).code, 0);
    const killed = startHeld(20, trainArguments("killed", "training.steps=40"));
    await until(() => runs.checkpoints("killed").length > 0, killed);
    killed.child.kill("SIGKILL");
    assert.equal((await killed.ended).code, null);
    assert.ok(!existsSync(join(root, "killed", "model")), "killed before it was finished");
    const resumed = await laclip(...trainArguments("killed", "training.steps=40"));
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.match(resumed.stderr, /Going on from step \d+/);
    assert.equal(runs.weights("killed"), runs.weights("whole"));

    const steps = (out: string): number[] => runs.events(out, "train").map(({ step }) => step);
    assert.deepEqual(steps("killed"), steps("whole"), "every step is in the events once");
  });

  test("SIGTERM saves at the edge of the step and exits 75; the next start goes on", async () => {
    const settings = ["training.steps=300", "training.checkpointEvery=1000"];
    assert.equal((await laclip(...trainArguments("unstopped", ...settings))).code, 0);
    const stopped = startHeld(150, trainArguments("stopped", ...settings));
    await until(() => runs.events("stopped", "train").length > 0, stopped);
    stopped.child.kill("SIGTERM");
    const { code, stderr } = await stopped.ended;
    assert.equal(code, 75, stderr);
    assert.match(stderr, /Start the same command again/);
    assert.equal((await laclip(...trainArguments("stopped", ...settings))).code, 0);
    assert.equal(runs.weights("stopped"), runs.weights("unstopped"));
  });

  test("a damaged checkpoint gives way to the one before; when all are damaged, that is said", async () => {
    const run = (out: string): string[] => trainArguments(out, "training.steps=40", "training.keepCheckpoints=100");
    const killed = startHeld(20, run("damaged"));
    await until(() => runs.checkpoints("damaged").length > 1, killed);
    killed.child.kill("SIGKILL");
    await killed.ended;
    const names = runs.checkpoints("damaged");
    truncateSync(join(root, "damaged", "checkpoints", names.at(-1)!, "optimizer.safetensors"), 1000);
    const { code, stderr } = await laclip(...run("damaged"));
    assert.equal(code, 0, stderr);
    assert.match(stderr, /optimizer\.safetensors: damaged/);
    assert.equal(runs.weights("damaged"), runs.weights("whole"));

    rmSync(join(root, "damaged", "model"), { recursive: true });
    for (const name of runs.checkpoints("damaged")) writeFileSync(join(root, "damaged", "checkpoints", name, "state.json"), "{");
    const refused = await laclip(...run("damaged"));
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /none of the \d+ checkpoints is whole/);
  });

  test("a finished run is left alone; other settings in its folder are refused by name", async () => {
    const again = await laclip(...trainArguments("same-a", "training.steps=5"));
    assert.equal(again.code, 0);
    assert.equal((JSON.parse(again.stdout) as { alreadyFinished: boolean }).alreadyFinished, true);
    const { code, stderr } = await laclip(...trainArguments("same-a", "training.steps=5", "optimizer.peakLr=0.5"));
    assert.equal(code, 2);
    assert.match(stderr, /recipe\.optimizer\.peakLr: 0\.001 there, 0\.5 now/);
    assert.equal(runs.weights("same-a"), runs.weights("same-b"), "nothing was changed");
    const printed = await laclip("train", join(root, "same-a", "config.json"), "--data", "none", "--out", "none", "--print-recipe");
    assert.equal(printed.code, 0, printed.stderr);
    assert.equal((JSON.parse(printed.stdout) as { training: { steps: number } }).training.steps, 5, "a run's settings are a recipe again");
    const logged = await laclip(...trainArguments("same-a", "training.steps=5", "training.logEvery=2"));
    assert.equal(logged.code, 0, logged.stderr);
    assert.match(readFileSync(join(root, "same-a", "config.json"), "utf8"), /"logEvery": 1\b/, "it is not logged anew");
  });

  test("LaCLIP trains on rewrites joined by id, notices their absence and those of another data set", async () => {
    const rewrites = join(root, "rewrites");
    assert.equal((await laclip("rewrite", join(data, "captions.csv"), "--out", rewrites, "--llm", "eda")).code, 0);
    const laclipRun = (out: string, ...more: string[]): string[] => [
      ...trainArguments(out, "training.steps=3", "captions.choose=uniform"),
      ...more,
    ];
    const trained = await laclip(...laclipRun("laclip", "--rewrites", rewrites));
    assert.equal(trained.code, 0, trained.stderr);
    assert.match(trained.stderr, /24 of 24 samples have some, from eda/);
    const missing = await laclip(...laclipRun("no-rewrites"));
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /no rewrites folder was given/);

    const other = join(root, "other.csv");
    writeFileSync(other, "id,caption\nx-1,a cat on a mat\nx-2,a dog in a fog\n");
    const otherRewrites = join(root, "other-rewrites");
    assert.equal((await laclip("rewrite", other, "--out", otherRewrites, "--llm", "eda")).code, 0);
    const refused = await laclip(...laclipRun("other-rewrites-run", "--rewrites", otherRewrites));
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /another data set/);
  });

  test("rewrites that were made anew are not gone on with as if they were the old ones", async () => {
    const rewrites = join(root, "rewrites-2");
    const write = (seed: string): Promise<Ended> =>
      laclip("rewrite", join(data, "captions.csv"), "--out", rewrites, "--llm", "eda", "--seed", seed);
    const run = (): Promise<Ended> =>
      laclip(...trainArguments("rewritten", "training.steps=3", "captions.choose=uniform"), "--rewrites", rewrites);
    assert.equal((await write("1")).code, 0);
    assert.equal((await run()).code, 0);
    rmSync(rewrites, { recursive: true });
    assert.equal((await write("2")).code, 0);
    const refused = await run();
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /data\.rewrites\.hash/);
  });

  test("two processes do not train in one folder", async () => {
    const settings = ["training.steps=300", "training.checkpointEvery=1000"];
    const first = startLaclip(trainArguments("shared", ...settings));
    await until(() => existsSync(join(root, "shared", "lock")), first);
    // It stands still meanwhile: else it might be done before the second one has come as far.
    first.child.kill("SIGSTOP");
    const second = await laclip(...trainArguments("shared", ...settings)).finally(() => first.child.kill("SIGCONT"));
    assert.equal(second.code, 3, second.stderr);
    assert.match(second.stderr, /run folder is being written by process \d+/);
    assert.equal((await first.ended).code, 0);
    assert.equal(runs.weights("shared"), runs.weights("unstopped"));
    assert.ok(!existsSync(join(root, "shared", "lock")), "the lock is given back");
  });

  test("settings that can't be trained with leave no run folder behind", async () => {
    const wrong = await laclip(...trainArguments("mended", "training.steps=5", "training.warmupSteps=100"));
    assert.equal(wrong.code, 2);
    assert.equal((await laclip(...trainArguments("mended", "training.steps=5"))).code, 0);
  });

  test("numbers that are not finite end the run with code 5 and leave the checkpoints", async () => {
    const { code, stderr } = await laclip(
      ...trainArguments("diverged", "training.steps=20", "optimizer.peakLr=1e38", "training.warmupSteps=1"),
    );
    assert.equal(code, 5, stderr);
    assert.match(stderr, /Lower the learning rate/);
  });

  test("wrong settings are named", async () => {
    for (const [setting, message] of [
      ["training.stepz=5", /there is no setting "training\.stepz"[^]*training\.steps/],
      ["training.batchSize=many", /expected number/i],
      ["training.warmupSteps=100", /warm-up must take 0 to 5 steps/],
      ["training.batchSize=1000", /fewer|1000/],
      ["model.preset=huge", /There is no model "huge"/],
    ] as const) {
      const { code, stderr } = await laclip(...trainArguments("wrong", "training.steps=5", setting));
      assert.ok(code === 2 || code === 3, `${setting}: ${code} ${stderr}`);
      assert.match(stderr, message);
    }
  });

  test("unreadable images are counted, and too many end the run", async () => {
    const broken = join(root, "broken");
    mkdirSync(join(broken, "images"), { recursive: true });
    const rows = ["image,caption"];
    for (let i = 0; i < 24; i++) {
      const bytes = readFileSync(join(data, "images", `${i}.png`));
      writeFileSync(join(broken, "images", `${i}.png`), i === 5 ? bytes.subarray(0, 60) : bytes);
      rows.push(`images/${i}.png,picture number ${i}`);
    }
    writeFileSync(join(broken, "captions.csv"), `${rows.join("\n")}\n`);
    const run = (...more: string[]): string[] => {
      const args = trainArguments(`broken-${more.length}`, "training.steps=6");
      args[args.indexOf("--data") + 1] = broken;
      return [...args, ...more];
    };
    const refused = await laclip(...run());
    assert.equal(refused.code, 3, refused.stderr);
    assert.match(refused.stderr, /5\.png/);
    const accepted = await laclip(...run("--max-skipped", "0.1"));
    assert.equal(accepted.code, 0, accepted.stderr);
    assert.match(accepted.stderr, /1 .*image/);
  });

  test("the trained model classifies a folder of images by words", async () => {
    const dataset = join(root, "dataset");
    for (const colour of colours) {
      mkdirSync(join(dataset, colour), { recursive: true });
      writeFileSync(join(dataset, colour, "a.png"), await plainPicture(colour, 30, 30));
    }
    const evaluate = (...more: string[]): Promise<Ended> =>
      laclip("evaluate", "zero-shot", "--model", join(root, "same-a", "model"), "--dataset", dataset, ...more);
    const { code, stdout, stderr } = await evaluate("--json", "--predictions");
    assert.equal(code, 0, stderr);
    const result = JSON.parse(stdout) as {
      task: string;
      images: number;
      metrics: Record<string, number>;
      predictions: { top: unknown[] }[];
    };
    assert.equal(result.task, "zeroshot_classification");
    assert.equal(result.images, 4);
    assert.equal(result.metrics["acc5"], 1, "with four classes the right one is among the best five");
    assert.equal(result.predictions[0]!.top.length, 4);

    const classes = join(root, "classes.json");
    writeFileSync(classes, JSON.stringify({ red: "red", green: "green", blue: "blue" }));
    const refused = await evaluate("--classes", classes);
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /yellow/);
    const noModel = await laclip("evaluate", "zero-shot", "--model", data, "--dataset", dataset);
    assert.equal(noModel.code, 3);
    assert.match(noModel.stderr, /not a model folder/);
  });

  test("docs/training.md lists every file of the run folders of these tests, and they have what it says is always there", () => {
    const page = readFileSync(new URL("../../../docs/training.md", import.meta.url), "utf8");
    const [, list = ""] = /## The run folder\n\n```\n([\s\S]*?)```/.exec(page) ?? [];
    const listed = Array.from(list.matchAll(/^([\w.]+)\/? .*?(?=\n\S|\n$)/gms), ([line, name]) => ({
      name: name!,
      always: !/only with|only when|held by/.test(line),
    }));
    const folders = readdirSync(root).filter((name) => existsSync(join(root, name, "events.jsonl")));
    const found = folders.flatMap((folder) => readdirSync(join(root, folder)));
    assert.deepEqual(
      [...new Set(found)].filter((name) => !listed.some((line) => line.name === name)),
      [],
    );
    const always = listed.filter((line) => line.always).map(({ name }) => name);
    assert.deepEqual(
      always.filter((name) => !existsSync(join(root, "profiled", name))),
      [],
    );
  });
});
