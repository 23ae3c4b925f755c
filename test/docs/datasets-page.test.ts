/** The table of docs/evaluation.md says of each published set what its definition says. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { datasetDefinitions, retrievalDefinitions } from "../../src/evaluation/index.ts";
import { root } from "./pages.ts";

const number = (value: number | undefined): string => (value === undefined ? "" : value.toLocaleString("en-US"));

/** Rows of a table of the page, without its head. */
function rows(name: string): string[] {
  const page = readFileSync(join(root, "docs", "evaluation.md"), "utf8");
  const [, table = ""] = new RegExp(`<!-- ${name} -->\\n([\\s\\S]*?)<!-- /${name} -->`).exec(page) ?? [];
  return table.trim().split("\n").slice(2);
}

test("docs/evaluation.md has every published set with its classes, score and images", () => {
  const expected = datasetDefinitions.map(({ name, title, classCount, metric, expected: { train, validation, test } }) => {
    const score = metric === "acc1" ? "top-1" : "mean per class";
    return `| \`${name}\` | ${title} | ${number(classCount)} | ${score} | ${number(train)} | ${number(validation)} | ${number(test)} |`;
  });
  assert.deepEqual(rows("datasets"), expected);
});

test("docs/evaluation.md has every published set with captions", () => {
  const expected = retrievalDefinitions.map(({ name, title, expected: { test: found } }) => {
    return `| \`${name}\` | ${title} | ${number(found?.images)}, ${number(found?.captions)} |`;
  });
  assert.deepEqual(rows("retrieval"), expected);
});
