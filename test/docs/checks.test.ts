/** The table of docs/checks.md says of each check what the program does by default. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isMeasuring, rewriteChecks } from "../../src/rewriting/index.ts";
import { root } from "./pages.ts";

test("docs/checks.md has every check with its verdict and its number", () => {
  const page = readFileSync(join(root, "docs", "checks.md"), "utf8");
  const rows = Array.from(
    page.matchAll(/^\| `([a-z-]+)` \| ((?:reject|flag|off)[^|]*) \|/gm),
    ([, name, setting]) => `${name}: ${setting}`,
  );
  const expected = rewriteChecks.map((check) => {
    const limits = isMeasuring(check) ? [check.least, check.most].filter((limit) => limit !== undefined) : [];
    return `${check.name}: ${check.verdict}${limits.length > 0 ? `, ${limits.join("..")}` : ""}`;
  });
  assert.deepEqual(rows, expected);
});
