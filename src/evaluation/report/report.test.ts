import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { publishedModel } from "../published/published.ts";
import { type ClassifiedItem, writeClassifiedItems } from "../results/outcomes.ts";
import { type EvaluationResult, type ResultDetails, readResults, writeResult } from "../results/result.ts";
import { ablationTables } from "./ablation.ts";
import { renderReport } from "./report-page.ts";
import { reportCsv, reportLatex, reportMarkdown } from "./report-tables.ts";
import { buildReport } from "./report.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-report-"));
after(() => rmSync(root, { recursive: true }));

const protocol = { normalisation: "imagenet", interpolation: "bilinear", templates: 80 };
const details: ResultDetails = {
  version: "0",
  created: "",
  protocol,
  mainMetric: "acc1",
  counts: {},
  skipped: { count: 2, reasons: ["a.png: no image"] },
  classes: ["a <b>cat</b>", "dog | hound"],
};

/** Writes a result of a model that has `right` of 50 images right. */
async function write(folder: string, model: string, dataset: string, right: number, more: Partial<ResultDetails> = {}): Promise<void> {
  const bare: EvaluationResult = { dataset, model, pretrained: "", task: "zeroshot_classification", metrics: {}, language: "en" };
  const items = Array.from({ length: 50 }, (_, i): ClassifiedItem => {
    const [label, guess] = [i % 2, i < right ? i % 2 : 1 - (i % 2)];
    return { item: `${i}.png`, label, rank: 1, guesses: [guess], scores: [0.2], confidence: 0.6, probability: 0.6 };
  });
  const perItem = await writeClassifiedItems(join(root, folder), bare, items);
  writeResult(join(root, folder), { ...bare, metrics: { acc1: right / 50 }, laclip: { ...details, perItem, ...more } });
}

describe("report", () => {
  test("models stand side by side with CLIP_benchmark's, with differences to the first and to what was published", async () => {
    await write("first", "first", "imagenet1k", 20);
    await write("second", "second|x", "imagenet1k", 40);
    const theirs = { dataset: "wds/imagenet1k", model: "ViT-B-32", pretrained: "openai", task: "zeroshot_classification", language: "en" };
    writeFileSync(join(root, "theirs.json"), JSON.stringify({ ...theirs, metrics: { acc1: 0.632, acc5: 0.9 } }));
    const results = readResults([join(root, "first"), join(root, "second"), join(root, "theirs.json")]);
    const report = await buildReport(results, {
      published: [{ model: publishedModel("laclip-cc12m-vit-b-16"), for: "first" }],
      resamples: 300,
    });
    assert.deepEqual(report.models, ["first", "second|x", "ViT-B-32 openai"]);
    assert.equal(report.rows.length, 1, "names of one data set are one row");
    const [first, second, other] = report.rows[0]!.cells;
    assert.ok(Math.abs(first!.published!.difference - (0.4 - 0.484)) < 1e-12);
    assert.deepEqual(first!.published!.differences, ["templates 80, published with 7", "2 images left out"]);
    assert.deepEqual([second!.published, other!.published], [undefined, undefined], "the published model is the first one's alone");
    assert.ok(second!.interval!.low < 0.8 && second!.interval!.high > 0.8);
    assert.deepEqual([second!.comparison!.onlySecond, second!.comparison!.onlyFirst], [20, 0]);
    assert.deepEqual([other!.interval, other!.comparison], [undefined, undefined]);

    const markdown = reportMarkdown(report);
    assert.match(markdown, /\| ImageNet[^|]*\| zero-shot \| top-1 \| 40\.0 \([^|]*Δ −8\.4 \[1\] \| 80\.0 \([^|]*\)\* \| 63\.2 \| 48\.4 \|/);
    assert.match(markdown, /second\\\|x/, "a pipe in a name stays in its cell");
    assert.match(markdown, /\[1\].*templates 80, published with 7; 2 images left out/);
    const latex = reportLatex(report);
    assert.match(latex, /48\.4 \\\\\n\\bottomrule/);
    assert.match(latex, /\$\\Delta\$ \$-\$8\.4/);
    const lines = reportCsv(report).trimEnd().split("\n");
    assert.equal(lines.length, 4);
    assert.equal(new Set(lines.map((line) => line.replace(/"[^"]*"/g, "").split(",").length)).size, 1, "every line has the same columns");
  });

  test("the page loads nothing, escapes what data say, and lets only its own script run", async () => {
    await write("odd", "<script>alert(1)</script>", "my <i>set</i>", 30);
    const page = await renderReport(await buildReport(readResults([join(root, "odd")]), { resamples: 50 }));
    assert.ok(!page.includes("<script>alert") && !page.includes("<i>set") && !page.includes("<b>cat"));
    const scripts = [...page.matchAll(/<script>([^]*?)<\/script>/g)].map((match) => match[1]!);
    assert.equal(scripts.length, 1);
    assert.ok(page.includes(`script-src &#39;sha256-${createHash("sha256").update(scripts[0]!).digest("base64")}&#39;`));
    assert.ok(!/(src|href)="(?!data:)/.test(page));
    assert.match(page, /Taken for one another/);
  });

  test("what does not fit together is an error or a note", async () => {
    await write("twice", "first", "imagenet1k", 21);
    await assert.rejects(buildReport(readResults([join(root, "first"), join(root, "twice")])), /are both of first on imagenet1k/);
    const [stored] = readResults([join(root, "first")]);
    const report = await buildReport([{ ...stored!, result: { ...stored!.result, metrics: { acc1: 0.9 } } }], { resamples: 50 });
    assert.match(report.notes[0]!, /its items give 0\.4000 and not 0\.9000/);
    assert.equal(report.rows[0]!.cells[0]!.interval, undefined);
    rmSync(join(root, "first", stored!.result.laclip!.perItem!.file));
    const bare = await buildReport([stored!], { resamples: 50 });
    assert.match(bare.notes[0]!, /no such file/);
    assert.match(await renderReport(bare), /no such file/, "the page is made without it");
    await assert.rejects(
      buildReport([stored!], { published: [{ model: publishedModel("clip-cc3m-vit-b-16"), for: "other" }] }),
      /no results of a model "other"/,
    );
  });

  test("runs that differ in texts and seed alone become an ablation, seed by seed; others do not", () => {
    const run = (choose: string, seed: number, batchSize = 8): Record<string, unknown> => ({
      recipe: {
        description: "small",
        captions: { choose, ...(choose === "uniform" ? { sources: ["original", "bard"] } : {}) },
        training: { seed, batchSize },
      },
      data: { captions: { hash: "c" }, rewrites: choose === "uniform" ? { hash: "0123456789ab" } : null },
    });
    const result = (name: string, acc1: number, config: Record<string, unknown>): { path: string; result: EvaluationResult } => ({
      path: name,
      result: {
        dataset: "d",
        model: name,
        pretrained: "",
        task: "zeroshot_classification",
        metrics: { acc1 },
        language: "en",
        laclip: {
          ...details,
          modelHash: name,
          run: config,
        },
      },
    });
    const tables = ablationTables([
      result("u1", 0.5, run("uniform", 1)),
      result("o1", 0.4, run("original", 1)),
      result("o2", 0.5, run("original", 2)),
      result("u2", 0.7, run("uniform", 2)),
      result("u3", 0.9, run("uniform", 3)),
      result("o1/step-00000004", 0.1, run("original", 1)),
      result("larger", 0.9, run("uniform", 1, 16)),
    ]);
    assert.equal(tables.length, 1);
    const [plain, rewritten] = tables[0]!.variants;
    assert.deepEqual([plain!.title, plain!.seeds, plain!.cells[0]!.difference], ["captions alone", [1, 2], undefined]);
    assert.deepEqual([rewritten!.title, rewritten!.seeds], ["captions + bard", [1, 2, 3]]);
    const { value, difference } = rewritten!.cells[0]!;
    assert.ok(Math.abs(value.mean - 0.7) < 1e-12);
    assert.ok(Math.abs(difference!.mean - 0.15) < 1e-12, "only the seeds that both have");
    assert.equal(difference!.count, 2);
  });

  test("texts are called by their sources, and those of one name by what is in them", () => {
    const run = (name: string, rewrites: object): { path: string; result: EvaluationResult } => {
      const recipe = { description: "small", captions: { choose: "uniform" }, training: { seed: 1 } };
      const config = { recipe, data: { captions: { hash: "c" }, rewrites } };
      const bare = { dataset: "d", model: name, pretrained: "", task: "zeroshot_classification", metrics: { acc1: 0.5 }, language: "en" };
      return { path: name, result: { ...bare, laclip: { ...details, modelHash: name, run: config } } };
    };
    const [table] = ablationTables([
      run("a", { hash: "aaaaaaaaaa", sources: ["human"] }),
      run("b", { hash: "bbbbbbbbbb", sources: ["human"] }),
      run("c", { hash: "cccccccccc", sources: ["eda"] }),
    ]);
    const titles = ["captions + human (aaaaaaaa)", "captions + human (bbbbbbbb)", "captions + eda"];
    assert.deepEqual(
      table!.variants.map(({ title }) => title),
      titles,
    );
  });

  test("a run that was measured otherwise than the others is not held against them, and it is said", async () => {
    const config = (choose: string, seed: number): Record<string, unknown> => ({
      recipe: { description: "small", captions: { choose }, training: { seed } },
      data: { captions: { hash: "c" }, rewrites: choose === "uniform" ? { hash: "0123456789ab" } : null },
    });
    const texts = { one: "original", two: "original", three: "uniform", four: "uniform" };
    for (const [i, [name, choose]] of Object.entries(texts).entries()) {
      const words =
        name === "four" ? { protocol: { ...protocol, templates: 7, prompts: "b" } } : { protocol: { ...protocol, prompts: "a" } };
      await write("ablation", name, "d", 20 + i, { ...words, modelHash: name, run: config(choose, 1 + (i % 2)) });
    }
    const report = await buildReport(readResults([join(root, "ablation")]), { resamples: 50 });
    const [table] = report.ablations;
    assert.deepEqual(
      table!.variants.map(({ cells }) => [cells[0]!.value.count, cells[0]!.difference?.count]),
      [
        [2, undefined],
        [1, 1],
      ],
    );
    const note =
      "four on d, zeroshot classification, is not among the runs that differ in their texts: it was measured otherwise than most of them (templates 80 and 7; other names or prompts).";
    assert.deepEqual(
      report.notes.filter((line) => line.includes("differ in their texts")),
      [note],
    );
    assert.ok(report.notes.some((line) => line.startsWith("four and one on d, zero-shot: measured in different ways: templates 7 and 80")));
    const page = await renderReport(report);
    assert.match(page, /aria-label="Values of all texts"/);
    assert.ok(page.includes(note));
    assert.equal(reportLatex(report).split("\\begin{tabular}").length, 3, "a table of results and one of texts");
  });
});
