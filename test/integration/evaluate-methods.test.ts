/**
 * Few-shot, linear probe, retrieval and features as a person asks for them: the command line in processes of its own, on real image files.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { type EvaluationResult, readResult } from "../../src/evaluation/index.ts";
import { readNpy, readTable } from "../../src/formats/index.ts";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../src/models/index.ts";
import { Random } from "../../src/support/index.ts";
import { type Ended, runLaclip, startLaclip } from "./laclip.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-methods-"));
const data = join(root, "colours");
const model = join(root, "model");
const colours = { red: [220, 30, 30], green: [30, 200, 40], blue: [40, 40, 210], yellow: [220, 210, 40], white: [240, 240, 240] } as const;

async function laclip(...args: string[]): Promise<Ended> {
  return await runLaclip(args, { env: { LACLIP_FEATURES: join(root, "features"), LACLIP_DATASETS: "" } });
}

async function result(...args: string[]): Promise<EvaluationResult> {
  const { code, stdout, stderr } = await laclip("evaluate", ...args, "--json");
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as EvaluationResult;
}

/** Images of a colour with noise, `count` of each colour in each split. */
async function drawImages(): Promise<void> {
  const rows = ["image,caption"];
  const pairs = ["image,caption"];
  for (const [split, count] of Object.entries({ train: 12, validation: 6, test: 8 })) {
    for (const [name, colour] of Object.entries(colours)) {
      mkdirSync(join(data, split, name), { recursive: true });
      for (let i = 0; i < count; i++) {
        const random = Random.of(split, name, i);
        const pixels = Buffer.from(Array.from({ length: 20 * 20 * 3 }, (_, k) => Math.min(255, colour[k % 3]! + random.integer(40))));
        const file = join(split, name, `${i}.png`);
        await sharp(pixels, { raw: { width: 20, height: 20, channels: 3 } })
          .png()
          .toFile(join(data, file));
        if (split === "test" && i < 2) rows.push(`${file},a ${name} wall`, `${file},"all is ${name}, number ${i}"`);
        if (split === "train") pairs.push(`${file},a ${name} wall with number ${i}`);
      }
    }
  }
  writeFileSync(join(data, "captions.csv"), `${rows.join("\n")}\n`);
  writeFileSync(join(data, "train.csv"), `${pairs.join("\n")}\n`);
}

describe("scores by the command line", () => {
  before(async () => {
    await drawImages();
    saveModel(model, { model: new Clip(preset("nano"), { seed: 3 }), preprocessing: imagenetPreprocessing });
    saveModel(join(root, "other"), { model: new Clip(preset("nano"), { seed: 4 }), preprocessing: imagenetPreprocessing });
  });
  after(() => rmSync(root, { recursive: true }));

  const common = ["--model", model, "--dataset", data];

  test("few-shot: features are made once, the same seed gives the same number, and a result that is there is kept", async () => {
    const few = ["few-shot", ...common, "--ways", "3", "--shots", "2", "--queries", "4", "--episodes", "60"];
    const first = await result(...few, "--out", join(root, "results"));
    const { acc1, acc1_interval95: interval } = first.metrics as Record<string, number>;
    assert.equal(first.task, "few_shot_classification");
    assert.ok(acc1! > 0.8 && acc1! <= 1 && interval! < 0.1, JSON.stringify(first.metrics));
    const { protocol, counts } = first.laclip!;
    assert.deepEqual([protocol["ways"], protocol["shots"], protocol["queries"], protocol["episodes"]], [3, 2, 4, 60]);
    assert.deepEqual([counts["images"], counts["trainImages"], counts["episodes"]], [40, 60, 60]);
    const entries = readdirSync(join(root, "features"));
    assert.equal(entries.length, 2, "one for train, one for test");
    const again = await laclip("evaluate", ...few, "--out", join(root, "results"));
    assert.match(again.stderr, /this result was there/);
    const votes = await result(...few, "--classifier", "knn", "--neighbours", "4");
    assert.ok(Number(votes.metrics["acc1"]) > 0.8);
    assert.deepEqual((await result(...few)).metrics, first.metrics);
    assert.equal((await result(...few, "--seed", "1")).laclip!.seed, 1);
    assert.deepEqual(readdirSync(join(root, "features")), entries);
  });

  test("linear probe: C from validation images, a classifier that can be applied again, and descent in steps", async () => {
    const probe = join(root, "probe");
    const fitted = await result("linear-probe", ...common, "--save", probe, "--out", join(root, "results"));
    const { lp_acc1, lp_acc5, C } = fitted.metrics as Record<string, number>;
    assert.ok(lp_acc1! > 0.9 && lp_acc5 === 1 && C! >= 1e-6 && C! <= 1e6, JSON.stringify(fitted.metrics));
    assert.deepEqual([fitted.laclip!.counts["train"], fitted.laclip!.counts["validation"], fitted.laclip!.counts["fitted"]], [60, 30, 90]);
    const [file] = readdirSync(join(root, "results")).filter((name) => name.endsWith("linear_probe.json"));
    assert.deepEqual(readResult(join(root, "results", file!)).metrics, fitted.metrics);
    const applied = await result("linear-probe", ...common, "--classifier", probe);
    assert.equal(applied.metrics["lp_acc1"], lp_acc1);
    const elsewhere = await laclip("evaluate", "linear-probe", "--model", join(root, "other"), "--dataset", data, "--classifier", probe);
    assert.deepEqual([elsewhere.code, /other weights/.test(elsewhere.stderr)], [2, true], elsewhere.stderr);
    for (const name of ["C", "weight_decay", "epochs"]) assert.equal(applied.metrics[name], fitted.metrics[name], name);
    assert.equal(applied.laclip!.protocol["fittedTo"], "colours");
    const rows = Object.keys(colours).map((name) => `${join("test", name, "0.png")},${name},test`);
    writeFileSync(join(data, "new.csv"), `${["image,label,split", ...rows].join("\n")}\n`);
    writeFileSync(join(data, "fewer.csv"), `${["image,label,split", ...rows.slice(1)].join("\n")}\n`);
    const refused: [RegExp, string[]][] = [
      [
        /fitted to features of images with imageSize \d+; here it is \d+/,
        [...common, "--image-size", String(2 * preset("nano").vision.imageSize)],
      ],
      [/has 5 classes, the data set 4/, ["--model", model, "--dataset", join(data, "fewer.csv")]],
    ];
    for (const [message, args] of refused) {
      const { code, stderr } = await laclip("evaluate", "linear-probe", ...args, "--classifier", probe);
      assert.deepEqual([code, message.test(stderr)], [2, true], stderr);
    }
    const strange = await laclip("evaluate", "linear-probe", "--model", model, "--dataset", join(data, "new.csv"), "--classifier", probe);
    assert.deepEqual([strange.code, /fitted to colours, and is applied to new/.test(strange.stderr)], [0, true], strange.stderr);
    const descended = await result("linear-probe", ...common, "--solver", "sgd", "--sgd-batch", "16", "--epochs", "40", "--standardise");
    assert.ok(Number(descended.metrics["lp_acc1"]) > 0.9);
  });

  test("retrieval in a table of one's own, and the same while a model trains", async () => {
    const table = join(data, "captions.csv");
    const { metrics, laclip: details } = await result("retrieval", "--model", model, "--dataset", table);
    assert.deepEqual([details!.counts["images"], details!.counts["captions"]], [10, 20]);
    for (const name of ["image_retrieval", "text_retrieval"]) {
      const [one, five, ten] = [1, 5, 10].map((place) => Number(metrics[`${name}_recall@${place}`])) as [number, number, number];
      assert.ok(0 <= one && one <= five && five <= ten && ten <= 1);
      assert.ok(Number(metrics[`${name}_median_rank`]) >= 1);
    }
    const out = join(root, "run");
    const set = ["model.preset=nano", "training.batchSize=8", "training.warmupSteps=1", "training.steps=3"].flatMap((one) => [
      "--set",
      one,
    ]);
    const trained = await laclip(
      "train",
      "emoji-clip",
      "--data",
      join(data, "train.csv"),
      "--out",
      out,
      ...set,
      "--evaluate-retrieval",
      table,
    );
    assert.equal(trained.code, 0, trained.stderr);
    const events = readFileSync(join(out, "events.jsonl"), "utf8");
    assert.match(events, /"val\/image_to_text_R@5":[\d.]+.*"val\/text_to_image_median_rank":[\d.]+/);
    const after = await result("retrieval", "--model", join(out, "model"), "--dataset", table);
    const measured = JSON.parse(events.split("\n").findLast((line) => line.includes("val/image_to_text_R@1"))!) as Record<string, unknown>;
    assert.ok(JSON.stringify(measured).includes(`"val/text_to_image_R@5":${Number(after.metrics["image_retrieval_recall@5"])}`));
  });

  test("features as .npy and .parquet, of images and texts", async () => {
    const npy = join(root, "images.npy");
    const images = await laclip("embed", "images", join(data, "test"), "--model", model, "--out", npy, "--normalise", "--json");
    assert.equal(images.code, 0, images.stderr);
    const { shape, data: values } = readNpy(npy);
    assert.deepEqual(shape, [40, JSON.parse(images.stdout).width]);
    const first = Array.from(values as Float32Array).slice(0, shape[1]);
    assert.ok(Math.abs(Math.hypot(...first) - 1) < 1e-5);
    const names = readFileSync(join(root, "images.names.txt"), "utf8").trim().split("\n");
    assert.deepEqual([names.length, names[0]], [40, join("blue", "0.png")]);
    const held = join(root, "held.parquet");
    const { DuckDBInstance } = await import("@duckdb/node-api");
    const connection = await (await DuckDBInstance.create()).connect();
    const files = `read_blob('${data}/test/*/*.png')`;
    // Beside the table, the paths that it gives lead to nothing.
    const records = `{'bytes': content, 'path': filename[${join(data, "test").length + 2}:]} AS image`;
    await connection.run(`COPY (SELECT ${records} FROM ${files} ORDER BY filename) TO '${held}'`);
    connection.closeSync();
    const inside = await laclip("embed", "images", held, "--model", model, "--out", join(root, "held.npy"), "--normalise");
    assert.equal(inside.code, 0, inside.stderr);
    assert.deepEqual(Array.from(readNpy(join(root, "held.npy")).data as Float32Array), Array.from(values as Float32Array));
    assert.deepEqual(readFileSync(join(root, "held.names.txt"), "utf8").trim().split("\n"), names);
    const parquet = join(root, "texts.parquet");
    const texts = await laclip("embed", "texts", join(data, "captions.csv"), "--model", model, "--out", parquet);
    assert.equal(texts.code, 0, texts.stderr);
    let rows = 0;
    for await (const batch of readTable(parquet)) {
      rows += batch.rows;
      assert.deepEqual(Object.keys(batch.columns), ["name", "feature"]);
      assert.equal(batch.columns["name"]![0], "a red wall");
    }
    assert.equal(rows, 20);
    assert.equal((await laclip("embed", "texts", join(data, "captions.csv"), "--model", model, "--out", "texts.csv")).code, 2);
    writeFileSync(join(root, "odd.csv"), "photo,kind\na.png,hat\n");
    const odd = await laclip("embed", "images", join(root, "odd.csv"), "--model", model, "--out", npy);
    assert.deepEqual([odd.code, /which column holds the image\?.*photo, kind[^]*--image-column/.test(odd.stderr)], [3, true], odd.stderr);
    const queries = join(root, "queries.txt");
    const written = "a  red wall\n\n a blue wall\n";
    writeFileSync(queries, written);
    assert.equal((await laclip("embed", "texts", queries, "--model", model, "--out", join(root, "queries.npy"))).code, 0);
    assert.equal(readFileSync(queries, "utf8"), written, "what was read is left as it is");
    assert.equal(readFileSync(join(root, "queries.names.txt"), "utf8"), "a red wall\na blue wall\n");
    assert.deepEqual(readNpy(join(root, "queries.npy")).shape[0], 2);
    // Where the features can't be put in their place, the names of theirs must not come to lie beside others.
    mkdirSync(join(root, "taken.npy"));
    writeFileSync(join(root, "taken.names.txt"), "of others\n");
    const taken = await laclip("embed", "texts", queries, "--model", model, "--out", join(root, "taken.npy"));
    assert.deepEqual([taken.code, /taken\.npy: nothing can be written there/.test(taken.stderr)], [2, true], taken.stderr);
    assert.doesNotMatch(taken.stderr, /\.tmp-/);
    const beside = readdirSync(root).filter((name) => name.startsWith("taken"));
    assert.ok(!beside.some((name) => name.includes(".tmp-")), beside.join(", "));
    assert.ok(!beside.includes("taken.names.txt") || readFileSync(join(root, "taken.names.txt"), "utf8") === "of others\n");
    const onto = await laclip("embed", "texts", parquet, "--text-column", "name", "--model", model, "--out", parquet);
    assert.deepEqual([onto.code, /take the place/.test(onto.stderr)], [2, true], onto.stderr);
  });

  test("a probe on a table whose classes are numbers needs no words for them", async () => {
    const rows = Object.keys(colours).flatMap((name, label) =>
      ["train", "validation", "test"].flatMap((split) => [0, 1, 2, 3].map((i) => `${join(split, name, `${i}.png`)},${label},${split}`)),
    );
    const table = join(data, "numbers.csv");
    writeFileSync(table, `${["image,label,split", ...rows].join("\n")}\n`);
    const probe = await result("linear-probe", "--model", model, "--dataset", table, "--strength", "1");
    assert.deepEqual(probe.laclip!["classes"], ["0", "1", "2", "3", "4"]);
    const worded = await laclip("evaluate", "all", "--model", model, "--dataset", table, "--out", join(root, "numbered"));
    assert.deepEqual([worded.code, /its classes are numbers/.test(worded.stderr)], [3, true], worded.stderr);
  });

  test("Ctrl-C ends a task that would go on for long, and asks for the same command again", async () => {
    const few = [
      "evaluate",
      "few-shot",
      ...common,
      "--ways",
      "3",
      "--shots",
      "2",
      "--queries",
      "4",
      "--episodes",
      "5000000",
      "--no-features",
    ];
    const { child, ended } = startLaclip(few);
    let said = "";
    child.stderr!.on("data", (text: string) => {
      // It has looked at the images, and listens.
      if (!said.includes("train") && text.includes("train")) child.kill("SIGINT");
      said += text;
    });
    const { code, stderr } = await ended;
    assert.deepEqual([code, /Start the same command again/.test(stderr)], [75, true], stderr);
  });

  test("what can't be done is said: no training images, too few of a class, flags that exclude each other", async () => {
    const only = join(data, "test");
    const cases: [code: number, message: RegExp, args: string[]][] = [
      [3, /no train images/, ["few-shot", "--model", model, "--dataset", only]],
      [3, /no train images/, ["linear-probe", "--model", model, "--dataset", only]],
      [3, /Ask for fewer ways/, ["few-shot", ...common, "--shots", "13"]],
      [2, /--classifier knn/, ["few-shot", ...common, "--neighbours", "3"]],
      [2, /--solver sgd/, ["linear-probe", ...common, "--epochs", "3"]],
      [2, /SGD has none/, ["linear-probe", ...common, "--strength", "1", "--solver", "sgd"]],
    ];
    for (const [code, message, args] of cases) {
      const ended = await laclip("evaluate", ...args);
      assert.equal(ended.code, code, `${args.join(" ")}: ${ended.stderr}`);
      assert.match(ended.stderr, message);
    }
    assert.equal((await laclip("evaluate", "few-shot", "--model", model, "--dataset", only, "--within-test", "--shots", "2")).code, 0);
  });

  const clothing = fileURLToPath(new URL("../../../../shared/data/clothing10", import.meta.url));
  const skip = existsSync(clothing) ? false : "the photos are not beside this repository (../shared/data/clothing10)";

  test("on photos of clothes in ten classes", { skip }, async () => {
    const here = ["--model", model, "--dataset", clothing];
    const few = await result("few-shot", ...here, "--episodes", "200");
    assert.equal(few.laclip!.counts["classes"], 10);
    // Weights that were never trained see colours and little else.
    assert.ok(Number(few.metrics["acc1"]) > 0.18, JSON.stringify(few.metrics));
    const probe = await result("linear-probe", ...here);
    assert.deepEqual([probe.laclip!.counts["images"], probe.laclip!.counts["fitted"]], [372, 3409]);
    assert.ok(Number(probe.metrics["lp_acc1"]) > 0.2, JSON.stringify(probe.metrics));
  });
});
