/** What the page of the benchmark on a GPU says of its parts. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "./pages.ts";

test("the page has the sum of the shares of all parts", () => {
  const folder = join(root, "bench/gpu");
  const parts = execFileSync(process.execPath, [join(folder, "measure.mjs"), "--parts"], { encoding: "utf8" });
  const sum = Number(/^(\d+) s in all$/m.exec(parts)?.[1]);
  const page = readFileSync(join(folder, "README.md"), "utf8");
  assert.ok(page.includes(`All shares together are ${sum.toLocaleString("en")} s `), `bench/gpu/README.md does not say ${sum} s`);
});
