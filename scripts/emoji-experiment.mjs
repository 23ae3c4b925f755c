/**
 * The five methods of the paper on the demo's emoji world, at the same cost, over several seeds: docs/experiments/emoji.md.
 *
 *   node scripts/emoji-experiment.mjs                   trains what is not trained yet, prints the page's tables
 *   node scripts/emoji-experiment.mjs --keep            also writes them, and the figures they rest on, into docs/experiments
 *   node scripts/emoji-experiment.mjs --print           the tables of the figures that are kept, without training
 *       --demo laclip-demo    where `npm run demo` left its pictures and human texts
 *       --out laclip-emoji    run folders; runs that are finished are used as they are, one that was interrupted goes on
 *       --seeds 5   --methods clip,laclip,laclip-mt,slip,laslip   --equal-steps (all methods as many steps as CLIP)
 *
 * The cost of a step is counted in multiplications of the two towers and the head for views, forward only (backward costs twice as
 * much for every method). A text counts the same for every method, with the mean length of all texts, start and end aside. CLIP trains as many steps as its
 * recipe says; the others as many as cost the same.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openLabelledFolder, openPairs, openRewritesFolder } from "../dist/src/data/index.js";
import { interval, isClear, pairedDifference, zeroShot } from "../dist/src/evaluation/index.js";
import { loadModel, preset } from "../dist/src/models/index.js";
import { derive, recipes, runRecipe } from "../dist/src/recipes/index.js";
import { ClipTokenizer } from "../dist/src/text/index.js";
import { hasFastBfloat16, torchInfo } from "../dist/src/torch/index.js";

const root = new URL("../", import.meta.url);
const kept = new URL("docs/experiments/emoji-results.json", root);
const page = new URL("docs/experiments/emoji.md", root);
const marks = /(<!-- results -->\n)[\s\S]*?(<!-- \/results -->)/;
const labels = { clip: "CLIP", laclip: "LaCLIP", "laclip-mt": "LaCLIP-MT, 2 texts", slip: "SLIP", laslip: "LaSLIP" };
const wordings = { ownWords: "classes-own-words.json", otherWords: "classes-other-words.json" };

const { values: flags } = parseArgs({
  options: {
    demo: { type: "string", default: "laclip-demo" },
    out: { type: "string", default: "laclip-emoji" },
    seeds: { type: "string", default: "5" },
    methods: { type: "string", default: Object.keys(labels).join(",") },
    "equal-steps": { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    print: { type: "boolean", default: false },
  },
});

const results = flags.print ? JSON.parse(readFileSync(kept, "utf8")) : await experiment();
const markdown = tables(results);
process.stdout.write(markdown);
if (flags.keep) {
  writeFileSync(kept, `${JSON.stringify(results, undefined, 1)}\n`);
  const text = readFileSync(page, "utf8");
  if (!marks.test(text)) throw new Error("docs/experiments/emoji.md has no marks for the results");
  writeFileSync(
    page,
    text.replace(marks, (_, open, close) => `${open}${markdown}${close}`),
  );
}

async function experiment() {
  const data = {
    file: join(flags.demo, "data", "train.csv"),
    rewrites: join(flags.demo, "rewrites", "human"),
    minimumMatched: 0,
  };
  if (!existsSync(data.file) || !existsSync(data.rewrites)) {
    throw new Error(`${flags.demo} holds no demo: start \`npm run demo\` first, or say where it is with --demo.`);
  }
  const tokens = await meanTokens(data);
  const precision = hasFastBfloat16() ? "bf16" : "fp32";
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const clip = recipes["emoji-clip"];
  const budget = clip.training.steps * stepCost(clip, tokens);
  const methods = flags.methods.split(",").map((name) => {
    const recipe = recipes[`emoji-${name}`];
    const cost = stepCost(recipe, tokens);
    const steps = flags["equal-steps"] ? clip.training.steps : Math.round(budget / cost);
    return { name, cost, steps, recipe, seeds: [] };
  });
  for (let seed = 1; seed <= Number(flags.seeds); seed++) {
    for (const { name, recipe, steps, seeds } of methods) {
      const warmupSteps = Math.round((clip.training.warmupSteps * steps) / clip.training.steps);
      const { run } = await runRecipe({
        recipe: derive(recipe, { training: { seed, precision, steps, warmupSteps } }),
        data: recipe.captions.choose === "original" ? { file: data.file } : data,
        out: join(flags.out, `${name}-${steps}-seed${seed}`),
        signal: stop.signal,
        label: `${labels[name]}, seed ${seed}`,
      });
      const scores = await ask(run.model);
      seeds.push({ seed, ...scores });
      process.stderr.write(`${name}, seed ${seed}: ${JSON.stringify(scores)}\n`);
    }
  }
  return {
    created: new Date().toISOString(),
    command: `node scripts/emoji-experiment.mjs${flags["equal-steps"] ? " --equal-steps" : ""}${flags.seeds === "5" ? "" : ` --seeds ${flags.seeds}`}`,
    environment: `libtorch ${torchInfo().version}; node ${process.version}; processor ${cpus()[0].model.trim()}, ${cpus().length} threads; ${precision}`,
    meanTokens: tokens,
    methods: methods.map(({ name, cost, steps, seeds }) => ({ name, cost, steps, seeds })),
  };
}

/** Mean tokens of a text, without start and end, over all names and human texts. */
async function meanTokens({ file, rewrites }) {
  const tokenizer = ClipTokenizer.load();
  let texts = 0;
  let tokens = 0;
  const count = (text) => {
    texts++;
    tokens += tokenizer.encode(text).length;
  };
  const { samples } = await openPairs({ file });
  for (let row = 0; row < samples.length; row++) count(samples.caption(row));
  for await (const batch of (await openRewritesFolder(rewrites)).read()) for (const { text } of batch) count(text);
  return tokens / texts;
}

/** Millions of multiplications of a sample's forward pass. */
function stepCost(recipe, tokens) {
  const { vision, text } = preset(recipe.model.preset);
  const blocks = (width, depth, length) => depth * (12 * width ** 2 * length + 2 * length ** 2 * width);
  const patches = (vision.imageSize / vision.patchSize) ** 2;
  const image = patches * 3 * vision.patchSize ** 2 * vision.width + blocks(vision.width, vision.depth, patches + 1);
  const head = recipe.model.viewHead;
  const views = head === undefined ? 0 : 2 * (image + head.hidden * (vision.width + head.hidden + head.width));
  return (image + views + (recipe.captions.textsPerImage ?? 1) * blocks(text.width, text.depth, tokens)) / 1e6;
}

/** Zero-shot classification of the drawing style that was never trained on. */
async function ask(folder) {
  const loaded = loadModel(folder);
  try {
    const scores = {};
    for (const [wording, file] of Object.entries(wordings)) {
      const held = join(flags.demo, "data", "held-out");
      const { names, items, templates } = openLabelledFolder(held, { classes: join(held, file) });
      const { metrics } = await zeroShot(loaded, items, { names, templates: templates ?? ["{}"] });
      scores[wording] = { top1: metrics.acc1, top5: metrics.acc5 };
    }
    return scores;
  } finally {
    loaded.model.dispose();
  }
}

function tables({ methods, created, command, environment, meanTokens: tokens }) {
  const columns = [
    ["own words, top-1", "ownWords", "top1"],
    ["own words, top-5", "ownWords", "top5"],
    ["other words, top-1", "otherWords", "top1"],
    ["other words, top-5", "otherWords", "top5"],
  ];
  const of = ({ seeds }, wording, measure) => seeds.map((one) => ({ seed: one.seed, value: one[wording][measure] }));
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const percent = (share) => (100 * share).toFixed(1);
  const scores = methods.map((method) => [
    labels[method.name],
    String(method.steps),
    method.cost.toFixed(1),
    ...columns.map(([, wording, measure]) => {
      const { mean, half } = interval(of(method, wording, measure).map(({ value }) => value));
      return half === undefined ? percent(mean) : `${percent(mean)} ± ${percent(half)}`;
    }),
  ]);
  const head = ["method", "steps", "million multiplications a sample", ...columns.map(([title]) => title)];
  const pairs = [
    ["laclip", "clip"],
    ["laclip-mt", "clip"],
    ["laclip-mt", "laclip"],
    ["slip", "clip"],
    ["laslip", "slip"],
    ["laslip", "laclip"],
  ].flatMap(([a, b]) => {
    const [first, second] = [a, b].map((name) => methods.find((method) => method.name === name));
    if (!first || !second) return [];
    const cells = columns.map(([, wording, measure]) => {
      const difference = pairedDifference(of(first, wording, measure), of(second, wording, measure));
      const { mean, half } = difference;
      const text = `${mean < 0 ? "−" : "+"}${percent(Math.abs(mean))}${half === undefined ? "" : ` ± ${percent(half)}`}`;
      return isClear(difference) ? `**${text}**` : text;
    });
    return [[`${labels[a]} against ${labels[b]}`, ...cells]];
  });
  return [
    line(head),
    line(head.map((_, i) => (i === 0 ? "---" : "--:"))),
    ...scores.map(line),
    "",
    "Differences in points over the same seeds, with the 95 % interval of a paired t-test; bold where it excludes zero:",
    "",
    line(["", ...columns.map(([title]) => title)]),
    line(["---", ...columns.map(() => "--:")]),
    ...pairs.map(line),
    "",
    `\`${command}\`, ${created.slice(0, 10)}: ${environment}; a text has ${tokens.toFixed(1)} tokens between start and end in the mean.`,
    "",
  ].join("\n");
}
