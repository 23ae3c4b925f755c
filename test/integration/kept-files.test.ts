/** What a person has stays as it is: no result takes the place of what is read, nor of a file of another kind. */
import assert from "node:assert/strict";
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { sha256 } from "../../src/support/index.ts";
import { runLaclip } from "./laclip.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-kept-"));
after(() => rmSync(folder, { recursive: true }));
const table = `id,caption\n${["a brown dog runs", "two cats sleep", "a bus at night"].map((text, i) => `${i},${text}\n`).join("")}`;
const items = '{"item":"0.png"}\n';
const result = JSON.stringify({
  dataset: "imagenet1k",
  model: "b16",
  pretrained: "",
  task: "zeroshot_classification",
  language: "en",
  metrics: { acc1: 0.5 },
  laclip: {
    version: "0",
    created: "",
    protocol: {},
    mainMetric: "acc1",
    counts: {},
    skipped: { count: 0, reasons: [] },
    perItem: { file: "b16.jsonl", sha256: sha256(items), rows: 1 },
  },
});

/** Runs the program in the folder of the test; says how it ended. */
async function laclip(...args: string[]): Promise<{ code: number | null; stderr: string }> {
  return await runLaclip(args, { cwd: folder });
}

before(async () => {
  writeFileSync(join(folder, "captions.csv"), table);
  mkdirSync(join(folder, "results"));
  writeFileSync(join(folder, "results", "b16.json"), result);
  writeFileSync(join(folder, "results", "b16.jsonl"), items);
  const { code, stderr } = await laclip("rewrite", "captions.csv", "--out", "rewrites", "--llm", "eda");
  assert.equal(code, 0, stderr);
});

test("an export, a page or a table of pairs does not take the place of captions, read or not, nor of a part of the rewrites folder", async () => {
  writeFileSync(join(folder, "other.csv"), table);
  writeFileSync(join(folder, "other.jsonl"), '{"id":1,"caption":"a dog"}\n');
  mkdirSync(join(folder, "texts"));
  writeFileSync(join(folder, "texts", "eda.txt"), "a brown dog\ntwo cats\n");
  symlinkSync("captions.csv", join(folder, "link.csv"));
  linkSync(join(folder, "captions.csv"), join(folder, "hard.csv"));
  const exported = ["rewrites", "export", "rewrites"];
  const aligned = ["--captions", "captions.csv"];
  const refusals: [args: string[], place: string, expected: RegExp][] = [
    [[...exported, "--to", "csv", "--out"], "captions.csv", /is no earlier result/],
    [[...exported, "--to", "jsonl", "--out"], "other.jsonl", /is no earlier result/],
    [[...exported, "--to", "parquet", ...aligned, "--out"], "captions.csv", /which is read/],
    [[...exported, "--to", "parquet", ...aligned, "--out"], "link.csv", /which is read/],
    [[...exported, "--to", "parquet", ...aligned, "--out"], "hard.csv", /which is read/],
    [[...exported, "--to", "parquet", ...aligned, "--out"], "other.csv", /is no earlier result/],
    [[...exported, "--to", "csv", "--out"], "rewrites/manifest.json", /lies in rewrites/],
    [[...exported, "--to", "lines", ...aligned, "--out"], "rewrites", /lies in rewrites/],
    [["rewrites", "stats", "rewrites", ...aligned, "--html"], "captions.csv", /is no earlier result/],
    [["rewrites", "stats", "rewrites", "--html"], "rewrites/manifest.json", /lies in rewrites/],
    [["pairs", "export", "human", "--to", "csv", "--out"], "other.csv", /is no earlier result/],
    [["inspect", "data", "captions.csv", "--html"], "captions.csv", /is no earlier result/],
    [["inspect", "data", "captions.csv", "--rewrites", "rewrites", "--html"], "rewrites/manifest.json", /lies in rewrites/],
    [["evaluate", "report", "results", "--format", "html", "--out"], "other.csv", /is no earlier result/],
    ...["markdown", "latex", "csv", "html"].map((format): [string[], string, RegExp] => [
      ["evaluate", "report", "results", "--format", format, "--out"],
      "results/b16.json",
      /which is read/,
    ]),
    [["evaluate", "report", "results", "--format", "csv", "--out"], "results/b16.jsonl", /which is read/],
  ];
  const manifest = readFileSync(join(folder, "rewrites", "manifest.json"), "utf8");
  for (const [args, place, expected] of refusals) {
    const { code, stderr } = await laclip(...args, place);
    assert.equal(code, 2, `${args.join(" ")} ${place}: ${stderr}`);
    assert.match(stderr, expected);
  }
  for (const name of ["captions.csv", "other.csv", "hard.csv"]) assert.equal(readFileSync(join(folder, name), "utf8"), table);
  assert.equal(readFileSync(join(folder, "rewrites", "manifest.json"), "utf8"), manifest);
  assert.equal(readFileSync(join(folder, "results", "b16.json"), "utf8"), result);

  // LaCLIP's text files are captions, too, and are called like the exports.
  const lines = join(folder, "texts", "eda.txt");
  const written = await laclip("rewrite", "texts/eda.txt", "--out", "of-lines", "--llm", "eda");
  assert.equal(written.code, 0, written.stderr);
  const onto = await laclip("rewrites", "export", "of-lines", "--to", "lines", "--captions", "texts/eda.txt", "--out", "texts");
  assert.deepEqual([onto.code, /which is read/.test(onto.stderr)], [2, true], onto.stderr);
  assert.equal(readFileSync(lines, "utf8"), "a brown dog\ntwo cats\n");
});

test("the same command can be given twice, and an empty file is none", async () => {
  const aligned = ["--captions", "captions.csv"];
  const commands = [
    ["rewrites", "export", "rewrites", "--to", "csv", "--out", "rows.csv"],
    ["rewrites", "export", "rewrites", "--to", "jsonl", "--out", "rows.jsonl"],
    ["rewrites", "export", "rewrites", "--to", "parquet", ...aligned, "--out", "rows.parquet"],
    ["rewrites", "export", "rewrites", "--to", "lines", ...aligned, "--out", "lines"],
    ["rewrites", "stats", "rewrites", "--html", "page.html"],
    ["pairs", "export", "human", "--to", "csv", "--out", "human.csv"],
    ["pairs", "export", "mscoco", "--to", "csv", "--out", "coco.csv"],
    ["pairs", "export", "human", "--to", "jsonl", "--out", "human.jsonl"],
    ["pairs", "export", "fusion", "--to", "jsonl", "--out", "fusion.jsonl"],
    ["evaluate", "report", "results", "--format", "csv", "--out", "results/all.csv"],
    ["evaluate", "report", "results", "--format", "html", "--out", "results/all.html"],
  ];
  writeFileSync(join(folder, "rows.csv"), "");
  for (const args of commands) {
    for (const time of ["first", "second"]) {
      const { code, stderr } = await laclip(...args);
      assert.equal(code, 0, `the ${time} ${args.join(" ")}: ${stderr}`);
    }
  }
});
