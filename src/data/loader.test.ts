import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import sharp from "sharp";
import { changeColours, colourList, trainingImage } from "../images/index.ts";
import { DataError, Random, UsageError } from "../support/index.ts";
import { ClipTokenizer } from "../text/index.ts";
import { type Loader, type LoaderOptions, openLoader } from "./loader.ts";
import type { Sample } from "./sample.ts";
import { sameTextKey } from "./same-text-key.ts";
import { SampleTable } from "./sample-table.ts";
import { type Batch, TrainingBatches } from "./training-batches.ts";
import { openFeed } from "./training-samples.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-loader-"));
after(() => rmSync(folder, { recursive: true }));

const samples: (Sample & { image: string })[] = Array.from({ length: 23 }, (_, i) => ({
  id: `sample-${i}`,
  image: join(folder, `${i}.${i % 2 ? "png" : "jpg"}`),
  captions: [
    { source: "original", text: `picture number ${i} ${"of many ".repeat(i % 5)}` },
    { source: "bard", text: `bard tells of ${i}` },
    { source: "human", text: `people see ${i}` },
  ],
}));

before(async () => {
  for (const [i, { image }] of samples.entries()) {
    const random = Random.of("image", i);
    const [width, height] = [30 + random.integer(60), 30 + random.integer(60)];
    const noise = Uint8Array.from({ length: width * height * 3 }, () => random.integer(256));
    await sharp(noise, { raw: { width, height, channels: 3 } }).toFile(image);
  }
});

const settings = { batchSize: 4, imageSize: 16, seed: 5, choose: "uniform" as const, exactCrops: true };

async function take(options: Partial<LoaderOptions> = {}): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of openLoader({ samples: SampleTable.of(samples), totalSteps: 12, ...settings, ...options })) batches.push(batch);
  return batches;
}

/** The same data set with some images replaced by files that are no images. */
function damaged(...rows: number[]): SampleTable {
  writeFileSync(join(folder, "cut.jpg"), readFileSync(samples[0]!.image).subarray(0, 500));
  return SampleTable.of(
    samples.map((sample, row) => (rows.includes(row) ? { ...sample, image: join(folder, row % 2 ? "cut.jpg" : "none.jpg") } : sample)),
  );
}

test("batches hold the crops, captions and tokens of their samples, every sample once an epoch", async () => {
  const batches = await take();
  assert.deepEqual(
    batches.map(({ step, epoch }) => [step, epoch]),
    Array.from({ length: 12 }, (_, step) => [step, Math.floor(step / 5)]),
  );
  const firstEpoch = batches.slice(0, 5).flatMap(({ ids }) => ids);
  assert.equal(new Set(firstEpoch).size, 20);
  const tokenizer = ClipTokenizer.load();
  for (const batch of batches) {
    assert.equal(batch.images.length, 4 * 16 * 16 * 3);
    let longest = 0;
    for (const [slot, id] of batch.ids.entries()) {
      const sample = samples.find((candidate) => candidate.id === id)!;
      const view = await trainingImage(sample.image, { size: 16, random: Random.of(5, "crop", batch.epoch, id) });
      assert.deepEqual(batch.images.subarray(slot * 768, slot * 768 + 768), view);
      assert.ok(sample.captions.some(({ source, text }) => source === batch.sources[slot] && text === batch.texts[slot]));
      const tokens = tokenizer.tokenize(batch.texts[slot]!);
      longest = Math.max(longest, tokens.length);
      const row = batch.tokens.subarray(slot * batch.tokenLength, (slot + 1) * batch.tokenLength);
      assert.deepEqual(row.subarray(0, tokens.length), tokens);
      assert.ok(row.subarray(tokens.length).every((token) => token === 0));
    }
    assert.equal(batch.tokenLength, longest);
  }
  assert.deepEqual(new Set(batches.flatMap(({ sources }) => sources)), new Set(["original", "bard", "human"]));
});

test("batches are the same whatever runs ahead, in parallel, from the cache, or in this thread", async () => {
  const batches = await take();
  assert.deepEqual(await take({ prefetch: 1, inFlight: 1, cacheBytes: 0 }), batches);
  assert.deepEqual(await take({ prefetch: 9, inFlight: 32, cacheBytes: 20_000 }), batches);
  const here = new TrainingBatches(
    openFeed({ kind: "table", table: SampleTable.of(samples).memory }, settings),
    settings,
    ClipTokenizer.load(),
  );
  for (const step of [7, 0, 11, 3]) assert.deepEqual((await here.make(step)).batch, batches[step]);
});

test("large JPEGs may be decoded smaller: the same crops, other pixels, and still the same in every run", async () => {
  const [exact, fast] = [await take(), await take({ exactCrops: false })];
  assert.deepEqual(
    fast.map(({ ids, texts }) => [ids, texts]),
    exact.map(({ ids, texts }) => [ids, texts]),
  );
  assert.notDeepEqual(fast, exact);
  assert.deepEqual(await take({ exactCrops: false, inFlight: 1, prefetch: 1, cacheBytes: 0 }), fast);
});

test("a start in the middle gives what an uninterrupted run gets there; another seed gives something else", async () => {
  const batches = await take();
  assert.deepEqual(await take({ startStep: 7 }), batches.slice(7));
  assert.deepEqual(await take({ startStep: 12 }), []);
  const other = await take({ seed: 6 });
  assert.notDeepEqual(other[0]!.ids, batches[0]!.ids);
});

test("plain CLIP sees originals only, in the same order and crops", async () => {
  const batches = await take();
  const originals = await take({ choose: "original" });
  assert.ok(originals.every(({ sources }) => sources.every((source) => source === "original")));
  assert.deepEqual(
    originals.map(({ ids, images }) => [ids, images]),
    batches.map(({ ids, images }) => [ids, images]),
  );
});

test("ranks together see the batch of one process", async () => {
  const whole = await take({ batchSize: 8, totalSteps: 4 });
  const [first, second] = [await take({ rank: 0, ranks: 2, totalSteps: 4 }), await take({ rank: 1, ranks: 2, totalSteps: 4 })];
  assert.deepEqual(
    whole.map(({ ids }) => ids),
    first.map(({ ids }, step) => [...ids, ...second[step]!.ids]),
  );
});

test("a long caption is cut at the context length", async () => {
  const long = samples.map((sample) => ({ ...sample, captions: [{ source: "original", text: "word ".repeat(2000) }] }));
  const [batch] = await take({ samples: SampleTable.of(long), totalSteps: 1 });
  assert.equal(batch!.tokenLength, 77);
  const [short] = await take({ samples: SampleTable.of(long), totalSteps: 1, contextLength: 16 });
  assert.equal(short!.tokenLength, 16);
});

test("unreadable images are replaced from outside of the batch, the same way in every run, and counted", async () => {
  const table = damaged(3, 8);
  const whole = await take();
  const loader = openLoader({ samples: table, totalSteps: 12, ...settings, maximumSkipped: 0.1 });
  const batches: Batch[] = [];
  for await (const batch of loader) batches.push(batch);
  assert.equal(loader.skipped.count, 2);
  assert.ok(loader.skipped.examples.some((reason) => /cut\.jpg: cut short/.test(reason)));
  assert.ok(loader.skipped.examples.some((reason) => /none\.jpg: no such file/.test(reason)));
  let replaced = 0;
  for (const [step, batch] of batches.entries()) {
    assert.equal(new Set(batch.ids).size, 4);
    assert.ok(!batch.ids.includes("sample-3") && !batch.ids.includes("sample-8"));
    for (const [slot, id] of whole[step]!.ids.entries()) {
      if (id !== "sample-3" && id !== "sample-8") {
        assert.equal(batch.ids[slot], id, "other samples keep their places");
        continue;
      }
      const instead = samples.find((candidate) => candidate.id === batch.ids[slot])!;
      const view = await trainingImage(instead.image, { size: 16, random: Random.of(5, "crop", batch.epoch, instead.id) });
      assert.deepEqual(batch.images.subarray(slot * 768, slot * 768 + 768), view);
      replaced++;
    }
  }
  assert.ok(replaced > 0);
  assert.deepEqual(await take({ samples: table, maximumSkipped: 0.1, inFlight: 1, prefetch: 1 }), batches);
  assert.deepEqual(await take({ samples: table, maximumSkipped: 0.1, startStep: 6 }), batches.slice(6));
});

test("too many unreadable images end the loading with the first reasons", async () => {
  await assert.rejects(take({ samples: damaged(1, 2, 3, 4), maximumSkipped: 0.1 }), (error) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /[34] of 23 images can't be read \(1[37] %\); allowed are 10 %\.\n  .*(cut|none)\.jpg/);
    assert.ok(error.mend);
    return true;
  });
  await assert.rejects(take({ samples: damaged(...samples.keys()), maximumSkipped: 1 }), /No image can be read/);
});

test("settings that can't work are refused before anything is loaded", () => {
  const open = (options: Partial<LoaderOptions>): Loader =>
    openLoader({ samples: SampleTable.of(samples), totalSteps: 1, ...settings, ...options });
  assert.throws(() => open({ batchSize: 24 }), DataError);
  assert.throws(() => open({ batchSize: 0 }), UsageError);
  assert.throws(() => open({ imageSize: 0.5 }), UsageError);
  assert.throws(() => open({ scale: [1, 0.5] }), UsageError);
  assert.throws(() => open({ contextLength: 1 }), UsageError);
});

test("leaving the loop, closing early and closing twice end the thread", async () => {
  const loader = openLoader({ samples: SampleTable.of(samples), totalSteps: 1000, ...settings });
  for await (const batch of loader) if (batch.step === 2) break;
  assert.deepEqual(await loader.next(), { value: undefined, done: true });
  await loader.close();
  const unused = openLoader({ samples: SampleTable.of(samples), totalSteps: 1000, ...settings });
  const waiting = unused.next();
  await unused.close();
  assert.ok((await waiting).done);
});

const run = promisify(execFile);
const module = fileURLToPath(new URL("./index.js", import.meta.url));

/** A program of its own that loads from the same images. */
function program(body: string, options: Partial<LoaderOptions> = {}): string[] {
  const loading = { totalSteps: 100_000, batchSize: 4, imageSize: 16, seed: 1, choose: "uniform", ...options };
  return [
    "--input-type=module",
    "--eval",
    `import { openLoader, SampleTable } from ${JSON.stringify(module)};
    const loader = openLoader({ samples: SampleTable.of(${JSON.stringify(samples)}), ...${JSON.stringify(loading)} });
    ${body}`,
  ];
}

test("a program that forgets to close its loader still ends, and one that fails fails", async () => {
  const { stdout } = await run(process.execPath, program("console.log((await loader.next()).value.step);"));
  assert.equal(stdout, "0\n");
  await assert.rejects(run(process.execPath, program("await loader.next(); throw new Error('on purpose');")), /on purpose/);
});

test("a process that has no open files left ends with that reason: no image counts as broken", async () => {
  // Files are taken between all batches: one that the loader has open while the rest are taken would be free again later. Images are not
  // kept in memory, or no further file would be needed.
  const [flag, evaluate, body] = program(
    `import { openSync } from "node:fs";
    const takeFiles = () => { try { for (;;) openSync("/dev/null"); } catch { /* all are taken */ } };
    try { for await (const _ of loader) takeFiles(); } catch (error) { console.log(error.constructor.name, error.message, loader.skipped.count); }`,
    { totalSteps: 1000, cacheBytes: 0 },
  );
  const { stdout } = await run("sh", ["-c", 'ulimit -n 200; exec "$@"', "sh", process.execPath, flag!, evaluate!, body!]);
  assert.match(stdout, /^LaclipError .*\.(jpg|png): this process has too many open files to read it\. 0\n$/);
});

test("Ctrl-C is the program's to handle: loading goes on until it closes", async () => {
  const child = spawn(
    process.execPath,
    program(`let asked = 0;
      process.on("SIGINT", () => { asked ||= 1; });
      for (let after = 0; after < 20; ) {
        const { value } = await loader.next();
        if (value.step === 3) console.log("ready");
        if (asked) after++;
      }
      await loader.close();
      console.log("closed");`),
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let output = "";
  for await (const chunk of child.stdout) {
    output += String(chunk);
    if (output === "ready\n") child.kill("SIGINT");
  }
  const code = child.exitCode ?? (await new Promise((resolve) => child.once("exit", resolve)));
  assert.equal(output, "ready\nclosed\n");
  assert.equal(code, 0);
});

test("three views of an image: the crop of a run without them, and two that differ; captions that say the same share a key", async () => {
  const [plain, three] = await Promise.all([
    take({ totalSteps: 2 }),
    take({ totalSteps: 2, views: true, textKeys: true, textsPerImage: 2 }),
  ]);
  for (const [i, batch] of three.entries()) {
    assert.deepEqual(batch.images, plain[i]!.images);
    assert.equal(plain[i]!.views, undefined);
    assert.equal(plain[i]!.textKeys, undefined);
    const each = batch.images.length / batch.ids.length;
    const views = batch.views!;
    assert.equal(views.length, 2 * batch.images.length);
    const view = (n: number): Buffer => Buffer.from(views.subarray(n * each, (n + 1) * each));
    const different = new Set(Array.from({ length: 2 * batch.ids.length }, (_, n) => view(n).toString("hex")));
    assert.equal(different.size, 2 * batch.ids.length, "every view is one of its own");
    assert.equal(batch.textKeys!.length, batch.texts.length);
    batch.texts.forEach((text, n) => assert.equal(batch.textKeys![n], sameTextKey(text)));
  }
  // From the middle, views are what they were.
  const resumed = await take({ startStep: 1, totalSteps: 2, views: true, textKeys: true, textsPerImage: 2 });
  assert.deepEqual(resumed[0]!.views, three[1]!.views);
});

test("views of images that are kept in memory are drawn anew in each epoch", async () => {
  const png = SampleTable.of(samples.filter((_, i) => i % 2 === 1).slice(0, 8));
  const some = { samples: png, batchSize: 8, views: true, totalSteps: 2 };
  const kept = await take({ ...some, cacheBytes: 1e9 });
  const read = await take({ ...some, cacheBytes: 0 });
  assert.deepEqual(kept, read);
  assert.notDeepEqual(kept[0]!.views, kept[1]!.views);
});

test("colours that are left to others are those that the loader would have changed, also of images in the place of unreadable ones", async () => {
  const common = { samples: damaged(2, 3, 8), views: true, totalSteps: 6, maximumSkipped: 0.5 };
  const done = await take(common);
  const left = await take({ ...common, leaveColours: true });
  let changes = 0;
  for (const [step, { views, viewColours, ...batch }] of left.entries()) {
    const { views: expected, viewColours: none, ...same } = done[step]!;
    assert.deepEqual(batch, same);
    assert.equal(none, undefined);
    for (let view = 0; view < 8; view++) {
      const list = colourList(viewColours!, view);
      changes += list.length;
      changeColours(views!.subarray(view * 768, (view + 1) * 768), 16, 16, list);
    }
    assert.ok(Buffer.from(views!).equals(expected!), `step ${step}`);
  }
  assert.ok(changes > 100);
});

test("weights of rewrites are handed on to the loss instead of deciding the draw", async () => {
  const weighed = SampleTable.of(
    samples.map((sample) => ({
      ...sample,
      captions: sample.captions.map((caption) => (caption.source === "bard" ? { ...caption, weight: 0.001 } : caption)),
    })),
  );
  const drawn = await take({ samples: weighed, totalSteps: 30 });
  const handedOn = await take({ samples: weighed, totalSteps: 30, weighing: "loss" });
  const bards = (batches: Batch[]): number => batches.flatMap(({ sources }) => sources).filter((source) => source === "bard").length;
  assert.ok(bards(drawn) < 5);
  assert.ok(bards(handedOn) > 20);
  for (const { sources, textWeights } of handedOn) {
    sources.forEach((source, i) => assert.ok(Math.abs(textWeights![i]! - (source === "bard" ? 0.001 : 1)) < 1e-3));
  }
  assert.equal(drawn[0]!.textWeights, undefined);
});
