/**
 * How often each check finds something where it should not, and where it should.
 *
 *   node dist/bench/rewriting-checks/flag-rates.js captions_val2017.json
 *
 * The file is an annotation file of COCO, where five people described each image. What another person wrote of the same image is as
 * good as a rewrite gets: what is flagged there is a false alarm, or a person who saw something else. What a person wrote of another
 * image is no rewrite at all. The last line is the rate of all checks together, in one thread.
 */
import { readFileSync } from "node:fs";
import { EdaEngine, checkRewrite, rewriteChecks } from "../../src/rewriting/index.ts";
import { Random } from "../../src/support/index.ts";

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error("Give an annotation file of COCO, such as captions_val2017.json.");
const { annotations } = JSON.parse(readFileSync(path, "utf8")) as { annotations: { image_id: number; caption: string }[] };
const byImage = new Map<number, string[]>();
for (const { image_id: image, caption } of annotations) {
  const text = caption.replace(/\s+/g, " ").trim();
  const known = byImage.get(image);
  if (known) known.push(text);
  else byImage.set(image, [text]);
}
const images = [...byImage.values()].filter((texts) => texts.length > 1);
const random = Random.of("flag-rates");
const eda = new EdaEngine();

type Pair = readonly [caption: string, rewrite: string];
const pairs: Readonly<Record<string, Pair[]>> = {
  "same image": images.map((texts) => random.sample(texts, 2) as unknown as Pair),
  "another image": images.map((texts) => [random.choice(texts), random.choice(random.choice(images))]),
  EDA: images.map(([caption], seed) => [caption!, eda.change(caption!, seed)]),
};

const rates = Object.values(pairs).map((own) => {
  const counts = new Map<string, number>();
  for (const [caption, rewrite] of own) {
    const { flags } = checkRewrite(rewrite, { caption, knownOutputs: new Set(), finish: "stop", shortened: false });
    for (const flag of flags) counts.set(flag.replace("rejected:", ""), (counts.get(flag.replace("rejected:", "")) ?? 0) + 1);
  }
  return counts;
});

console.log(`| check | ${Object.keys(pairs).join(" | ")} |\n|---|${"--:|".repeat(rates.length)}`);
for (const { name } of rewriteChecks) {
  if (!rates.some((counts) => counts.has(name))) continue;
  console.log(`| ${name} | ${rates.map((counts) => `${((100 * (counts.get(name) ?? 0)) / images.length).toFixed(2)} %`).join(" | ")} |`);
}
const started = performance.now();
for (const [caption, rewrite] of pairs["same image"]!)
  checkRewrite(rewrite, { caption, knownOutputs: new Set(), finish: "stop", shortened: false });
console.log(
  `\n${images.length} pairs of each kind; ${Math.round((1000 * images.length) / (performance.now() - started))} rewrites checked a second`,
);
