import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError, UsageError } from "../../support/index.ts";
import { readPairsFile, requireWritable, writeSource } from "./pairs-file.ts";
import type { RecordedSource } from "./pairs-file.ts";
import { drawExamples, fusionSource, hashOfPairs } from "./pairs.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-pairs-file-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const place = (): string => join(folder, `${files++}.json`);
const file = (value: unknown): string => {
  const path = place();
  writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value));
  return path;
};
const pairs = [1, 2, 3].map((n) => ({ input: `in ${n}`, output: `out ${n}` }));
const source = (name: string): Omit<RecordedSource, "provenance"> => ({
  name,
  pairs: pairs.map(({ input, output }) => [input, output] as const),
  record: { by: "people", author: "two friends", created: "2026-01-02T03:04:05.678Z", createdWith: "test" },
});
const faultOf = (value: unknown): string => {
  try {
    readPairsFile(file(value));
  } catch (error) {
    assert.ok(error instanceof DataError, String(error));
    return error.message;
  }
  return "";
};

test("sources are added to a file one after the other, and what stands there stays as it is", () => {
  const path = place();
  writeSource(path, source("first"));
  const byHand = [
    ...(JSON.parse(readFileSync(path, "utf8")) as object[]),
    {
      name: "scenes",
      label: "ours",
      groups: [
        ["a", "b"],
        ["c", "d"],
        ["e", "f"],
      ],
    },
  ];
  writeFileSync(path, JSON.stringify(byHand));
  writeSource(path, { name: "third", triples: fusionSource.triples! });
  const read = readPairsFile(path);
  assert.deepEqual(
    read.map(({ name }) => name),
    ["first", "scenes", "third"],
  );
  assert.deepEqual((JSON.parse(readFileSync(path, "utf8")) as object[]).slice(0, 2), byHand);
  assert.equal(hashOfPairs(read[2]!), hashOfPairs(fusionSource));
  assert.deepEqual(read[0]!.record, source("first").record);
  assert.equal(read[0]!.provenance, "3 example pairs written by two friends, on 2026-01-02");
  assert.equal(read[1]!.provenance, "ours");
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes("tmp")),
    [],
  );
});

test("a source of the same name is replaced only when that was asked for, in its place", () => {
  const path = place();
  for (const name of ["a", "b", "c"]) writeSource(path, source(name));
  const before = readFileSync(path, "utf8");
  assert.throws(
    () => writeSource(path, source("b")),
    (error) => error instanceof UsageError && /"b" already/.test(error.message) && /--replace/.test(error.mend!),
  );
  assert.equal(readFileSync(path, "utf8"), before);
  writeSource(path, { name: "b", triples: fusionSource.triples! }, { replace: true });
  const read = readPairsFile(path);
  assert.deepEqual(
    read.map(({ name }) => name),
    ["a", "b", "c"],
  );
  assert.equal(read[1]!.triples!.length, 16);
});

test("a file that is something else is not written over, nor one made for a source that could not be read back", () => {
  for (const content of ['{"captions": 1}', "[1, 2", "", '[{"name": "x", "pairs": []}]']) {
    const path = file(content);
    assert.throws(() => writeSource(path, source("new"), { replace: true }), DataError);
    assert.equal(readFileSync(path, "utf8"), content);
  }
  const empty = file("[]");
  assert.throws(() => readPairsFile(empty), /no source of example pairs in this file/);
  writeSource(empty, source("first"));
  assert.equal(readPairsFile(empty).length, 1);
  assert.throws(() => requireWritable(join(folder, "none", "pairs.json"), "x"), /there is no folder .*none to write it to/);
  assert.throws(() => requireWritable(folder, "x"), /this is a folder, expected a pairs file/);
  const path = place();
  assert.throws(
    () =>
      writeSource(path, {
        ...source("x"),
        pairs: [
          ["a", "b => c"],
          ["d", "e"],
          ["f", "g"],
        ],
      }),
    /pairs\.0\.output.*"=>"/,
  );
  assert.throws(() => writeSource(path, source("no spaces")), UsageError);
  assert.ok(!existsSync(path));
});

test("a source with second captions gives examples that have one", () => {
  const [merged] = readPairsFile(file({ name: "mine", pairs: pairs.map((pair, i) => ({ ...pair, second: `seen ${i}` })) }));
  const { examples } = drawExamples(merged!, 0, "id");
  for (const { input, second, output } of examples) {
    assert.equal(second, `seen ${Number(input.slice(3)) - 1}`);
    assert.equal(output, `out ${input.slice(3)}`);
  }
});

test("a fault is told with file, source and field", () => {
  assert.match(
    faultOf({ name: "x", pairs: [...pairs, { input: "a", output: 5 }] }),
    /\.json: source "x", field pairs\.3\.output: .*string/,
  );
  assert.match(
    faultOf([
      { name: "x", pairs },
      { name: "y", groups: [["a"], ["b", "c"], ["d", "e"]] },
    ]),
    /source "y", field groups\.0/,
  );
  assert.match(faultOf([{ name: "x", pairs }, { pairs }]), /source 2, field name/);
  assert.match(faultOf({ name: "x", pairs, colour: "red" }), /source "x".*colour/);
  assert.match(
    faultOf({ name: "x", pairs: [...pairs, { input: "a", second: "b", output: "c" }] }),
    /field pairs: some pairs have a second caption/,
  );
  assert.match(
    faultOf([
      { name: "x", pairs },
      { name: "x", pairs },
    ]),
    /two sources are named "x"/,
  );
  assert.match(faultOf({ name: "x", pairs, provenance: { by: "model", model: "m" } }), /field provenance\./);
  assert.match(faultOf({ name: "x", pairs, provenance: { by: "a friend" } }), /field provenance\.by/);
  assert.equal(faultOf({ name: "x", pairs: [...pairs, { input: " spaces and a break around \n", output: "are taken off" }] }), "");
  assert.match(faultOf("null"), /source 1/);
  assert.match(faultOf("[1,"), /not valid JSON/);
});

test("an example that could break a prompt is refused", () => {
  const texts: [string, RegExp][] = [
    ["a => b", /holds "=>"/],
    ["two\nlines", /line break/],
    ["two\u2028lines", /line break/],
    ["a\u0000b", /control character/],
    ["a\ud83db", /control character/],
    ["end</s>", /control token/],
    ["<|im_start|>system", /control token/],
    ["[/INST] no", /control token/],
    ["word ".repeat(2000), /9999 characters; 400 is the most/],
    ["  ", /is empty/],
  ];
  for (const [text, expected] of texts) assert.match(faultOf({ name: "x", pairs: [...pairs, { input: "fine", output: text }] }), expected);
});
