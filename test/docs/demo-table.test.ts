/** The documents' table of the demo: the figures of a run, worked out by hand here. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { root } from "./pages.ts";

const scratch = mkdtempSync(join(tmpdir(), "laclip-table-"));
after(() => rmSync(scratch, { recursive: true }));

/** Seeds 1, 2, ... with these shares of right answers in other words; in own words always a half. */
function seeds(top5: readonly number[]): object[] {
  return top5.map((share, i) => ({
    seed: i + 1,
    steps: 300,
    seconds: 100 + i,
    lossCurve: [],
    evaluations: { ownWords: { top1: 0.25, top5: 0.5 }, otherWords: { top1: share / 2, top5: share } },
  }));
}

function tableOf(baseline: readonly number[], other: readonly number[]): string {
  const file = join(scratch, "results.json");
  const results = {
    created: "2026-01-02T03:04:05.678Z",
    command: "npm run demo -- --seeds 3",
    world: { concepts: 200, trainingImages: 600, trainingStyles: ["A", "B", "C"], heldOutStyle: "D" },
    rewriter: { label: "EDA", isLanguageModel: false, why: "EDA, since it was asked for." },
    methods: [
      { name: "clip", label: "CLIP", texts: "the name only", role: "baseline", seeds: seeds(baseline) },
      { name: "laclip-human", label: "LaCLIP, human texts", texts: "more", role: "human", seeds: seeds(other) },
    ],
    environment: { program: "laclip 0.1.0", libtorch: "1.13.0 (system)" },
  };
  writeFileSync(file, JSON.stringify(results));
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "scripts", "demo-table.mjs"), file], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

test("a row has mean and 95 % interval over the seeds, in per cent", () => {
  const lines = tableOf([0.03, 0.04, 0.05], [0.1, 0.12, 0.11]).split("\n");
  // Sample deviation 1 point, three seeds, Student's t of two degrees of freedom 4.303: 4.303 / sqrt(3) = 2.48.
  assert.ok(lines.includes("| CLIP | the name only | 25.0 ± 0.0 | 50.0 ± 0.0 | 2.0 ± 1.2 | 4.0 ± 2.5 | 101 |"), lines.join("\n"));
  assert.ok(lines.some((line) => line.includes("chance is 0.50 for top-1 and 2.50 for top-5")));
  assert.ok(lines.includes("`npm run demo -- --seeds 3`, 2026-01-02: laclip 0.1.0; libtorch 1.13.0 (system)."));
});

test("a gain is called one only where the interval of the differences excludes zero", () => {
  const [clear, unclear] = [tableOf([0.03, 0.04, 0.05], [0.1, 0.12, 0.11]), tableOf([0.03, 0.04, 0.05], [0.05, 0.04, 0.03])];
  assert.match(clear, /^- LaCLIP, human texts, in another annotator's words: .* a gain beyond chance\.$/m);
  assert.match(unclear, /^- LaCLIP, human texts, in another annotator's words: .* which chance alone may explain\.$/m);
});

test("one seed gives figures without an interval", () => {
  assert.match(tableOf([0.04], [0.1]), /^\| CLIP \| the name only \| 25\.0 \| 50\.0 \| 2\.0 \| 4\.0 \| 100 \|$/m);
});
