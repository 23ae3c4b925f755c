/** The table of docs/evaluation.md says of each published set what its definition says. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { datasetDefinitions } from "../../src/evaluation/index.ts";
import { root } from "./pages.ts";

test("docs/evaluation.md has every published set with its classes, score and images", () => {
  const page = readFileSync(join(root, "docs", "evaluation.md"), "utf8");
  const [, table = ""] = /<!-- datasets -->\n([\s\S]*?)<!-- \/datasets -->/.exec(page) ?? [];
  const number = (value: number | undefined): string => (value === undefined ? "" : value.toLocaleString("en-US"));
  const expected = datasetDefinitions.map(({ name, title, classCount, metric, expected: { train, validation, test } }) => {
    const score = metric === "acc1" ? "top-1" : "mean per class";
    return `| \`${name}\` | ${title} | ${number(classCount)} | ${score} | ${number(train)} | ${number(validation)} | ${number(test)} |`;
  });
  assert.deepEqual(table.trim().split("\n").slice(2), expected);
});
