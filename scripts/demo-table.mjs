/**
 * The result of the demo as Markdown, for README.md and docs/demo.md.
 *
 *   node scripts/demo-table.mjs                             prints the table of docs/demo-results.json
 *   node scripts/demo-table.mjs laclip-demo/results.json    ... of another run
 *   node scripts/demo-table.mjs laclip-demo/results.json --keep
 *       makes that run the one that the documents show: writes docs/demo-results.json, and the table between the marks
 *       `<!-- demo-results -->` and `<!-- /demo-results -->` of both pages
 *
 * docs/demo-results.json is results.json without pictures, guesses and loss curves: everything that a figure in the documents rests on.
 * A test compares the pages with what this prints.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { resultRows } from "../dist/src/demo/demo-results.js";
import { tellStory } from "../dist/src/demo/report-story.js";
import { scoreText, secondsText } from "../dist/src/demo/result-table.js";

const root = new URL("../", import.meta.url);
/** The run that the documents show. */
const kept = new URL("docs/demo-results.json", root);
/** The pages that show it. */
const pages = ["README.md", "docs/demo.md"];
const marks = /(<!-- demo-results -->\n)[\s\S]*?(<!-- \/demo-results -->)/;

const { values, positionals } = parseArgs({ options: { keep: { type: "boolean", default: false } }, allowPositionals: true });
const results = JSON.parse(readFileSync(positionals[0] ?? kept, "utf8"));
const markdown = table(results);
if (values.keep) keep();
else process.stdout.write(markdown);

function keep() {
  writeFileSync(kept, `${JSON.stringify(essential(results), undefined, 1)}\n`);
  for (const page of pages) {
    const file = new URL(page, root);
    const text = readFileSync(file, "utf8");
    if (!marks.test(text)) throw new Error(`${page} has no marks for the demo's results`);
    writeFileSync(
      file,
      text.replace(marks, (_, open, close) => `${open}${markdown}${close}`),
    );
  }
  process.stderr.write(`written: ${[fileURLToPath(kept), ...pages].join(", ")}\n`);
}

/** What the table and the sentences under it rest on. */
function essential({ created, command, world, model, rewriter, methods, environment }) {
  return {
    created,
    command,
    world,
    model,
    rewriter,
    environment,
    rows: resultRows({ methods }),
    methods: methods.map(({ seeds, ...method }) => ({
      ...method,
      seeds: seeds.map(({ seed, steps, seconds, evaluations }) => ({ seed, steps, seconds, evaluations })),
    })),
  };
}

function table(results) {
  const { methods, world, environment, command, created, rewriter } = results;
  const { lead, findings } = tellStory(results);
  const head = [
    "method",
    "trained on",
    "own words, top-1",
    "own words, top-5",
    "other words, top-1",
    "other words, top-5",
    "seconds a run",
  ];
  const rows = methods.map((method) => [
    method.label,
    method.texts,
    scoreText(method, "ownWords", "top1"),
    scoreText(method, "ownWords", "top5"),
    scoreText(method, "otherWords", "top1"),
    scoreText(method, "otherWords", "top5"),
    secondsText(method),
  ]);
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [
    lead,
    "",
    line(head),
    line(head.map((_, i) => (i < 2 ? "---" : "--:"))),
    ...rows.map(line),
    "",
    `Per cent of ${world.concepts} pictures, each to be named among ${world.concepts} classes: chance is ${(100 / world.concepts).toFixed(2)} for top-1 and ${(500 / world.concepts).toFixed(2)} for top-5.`,
    `The rewriter: ${rewriter.why}`,
    "",
    ...findings.map((finding) => `- ${finding}`),
    "",
    `\`${command}\`, ${created.slice(0, 10)}: ${environmentLine(environment)}.`,
    "",
  ].join("\n");
}

/** "laclip 0.1.0; libtorch 1.13.0 (system); ..." */
function environmentLine({ program, ...parts }) {
  return [program, ...Object.entries(parts).map(([name, value]) => `${name} ${value}`)].join("; ");
}
