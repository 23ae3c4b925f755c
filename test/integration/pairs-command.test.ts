/** `laclip pairs` without a model: COCO annotations and tables into a pairs file, and out again. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { builtInSources, hashOfPairs, readPairsFile } from "../../src/rewriting/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-pairs-command-"));
after(() => rmSync(folder, { recursive: true }));
const place = (name: string): string => join(folder, name);

const pairs = async (...args: string[]): Promise<Ended> => await runLaclip(["pairs", ...args]);

test("a file gathers sources from COCO and from people, shows them, and gives them back as tables", async () => {
  const [file, annotations, csv] = [place("pairs.json"), place("captions.json"), place("human.csv")];
  const entries = Array.from({ length: 100 }, (_, i) => ({ image_id: i % 20, id: i, caption: `Scene ${i % 20} as ${i} tells it.` }));
  writeFileSync(annotations, JSON.stringify({ annotations: entries }));
  const drawn = await pairs("from-coco", annotations, "--name", "coco", "--seed", "4", "--out", file, "--json");
  assert.equal(drawn.code, 0, drawn.stderr);
  assert.deepEqual(JSON.parse(drawn.stdout), { out: file, name: "coco", count: 16, kind: "groups" });

  const human = builtInSources.find(({ name }) => name === "human")!;
  const table = await pairs("export", "human", "--to", "csv");
  assert.equal(table.stdout.split("\n")[0], "input,output");
  writeFileSync(csv, table.stdout);
  const kept = await pairs("import", csv, "--name", "people", "--author", "Ada", "--out", file);
  assert.equal(kept.code, 0, kept.stderr);
  assert.match(kept.stderr, /16 pairs written to .* as source "people"/);
  const [coco, people] = readPairsFile(file);
  assert.equal(hashOfPairs(people!), hashOfPairs(human));

  const shown = (await pairs("show", "--pairs", file)).stdout;
  assert.match(shown, /^coco +16 groups +16 groups of captions of captions\.json, drawn with seed 4, from captions\.json \(100 captions/m);
  assert.match(shown, /^people +16 pairs +16 example pairs written by Ada, from human\.csv/m);
  assert.match(shown, /^fusion +16 triples/m);
  assert.match((await pairs("show", "people", "--pairs", file)).stdout, new RegExp(`\n${human.pairs![0]![0]}\n {2}=> `));
  assert.deepEqual(JSON.parse((await pairs("show", file, "--json")).stdout), [coco, people]);

  const before = readFileSync(file, "utf8");
  const taken = await pairs("import", csv, "--name", "coco", "--author", "Ada", "--out", file);
  assert.deepEqual([taken.code, readFileSync(file, "utf8")], [2, before]);
  assert.equal((await pairs("import", csv, "--name", "coco", "--author", "Ada", "--out", file, "--replace")).code, 0);
  assert.deepEqual(
    readPairsFile(file).map(({ pairs: { length } = [] }) => length),
    [16, 16],
  );
});

test("a source is found by its name also where a folder is called like it", async () => {
  mkdirSync(place("human"));
  const { code, stdout, stderr } = await runLaclip(["pairs", "show", "human"], { cwd: folder });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^human: 16 example pairs/);
});

test("what can't be done is refused, and nothing is written", async () => {
  const file = place("few.json");
  const csv = place("few.csv");
  writeFileSync(csv, "input,output\na,b\n");
  const refusals: [string[], number, RegExp][] = [
    [["import", csv, "--name", "x", "--author", "Ada", "--out", file], 3, /few\.csv: 1 pairs are too few/],
    [["import", csv, "--name", "x y", "--author", "Ada", "--out", file], 2, /can't be named "x y"/],
    [["show", "chatgtp"], 2, /Did you mean "chatgpt"/],
    [["export", "human", "--to", "xml"], 2, /Choose csv or jsonl/],
    [["export", "human", "--to", "csv", "--source", "bard"], 2, /no source named "bard"/],
  ];
  for (const [args, code, expected] of refusals) {
    const ended = await pairs(...args);
    assert.equal(ended.code, code, ended.stderr);
    assert.match(ended.stderr, expected);
  }
  assert.ok(!existsSync(file));
});
