/**
 * What is left to win, once texts are packed, when the texts of a micro-batch are of about the same length.
 *
 *   node dist/bench/length-groups.bench.js [--batch 512] [--micro 64] [--rounds 3] [--preset vit-b-16]
 *
 * Takes the texts of a batch through the text tower and back, micro-batch by micro-batch, in four ways in turn: padded to the context of
 * 77, filled up to the longest of the whole batch, to the longest of their micro-batch, and the same with texts dealt to micro-batches by
 * length. Lengths are drawn log-normal, as those of captions from the web are: half of them below 14 tokens, a few at the limit. Prints
 * Markdown: tokens that most layers see, tokens and products of tokens in attention, and seconds of processor time as medians,
 * which other work on the machine changes less than those of the clock.
 */
import { parseArgs } from "node:util";
import { Clip, preset } from "../src/models/index.ts";
import { Random } from "../src/support/index.ts";
import { endOfText, startOfText } from "../src/text/index.ts";
import { Tensor, scope } from "../src/torch/index.ts";

const { values } = parseArgs({
  options: {
    batch: { type: "string", default: "512" },
    micro: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    preset: { type: "string", default: "vit-b-16" },
  },
});
const [batch, micro] = [Number(values.batch), Number(values.micro)];
const context = 77;
const random = Random.of("length-groups");
/** A draw of a normal distribution, as good as any: the sum of twelve uniform ones. */
const normal = (): number => Array.from({ length: 12 }, () => random.uniform()).reduce((a, b) => a + b) - 6;
const lengths = Array.from({ length: batch }, () => Math.min(context, Math.max(4, Math.round(14 * Math.exp(0.6 * normal())))));
const texts = lengths.map((length) => [startOfText, ...Array.from({ length: length - 2 }, () => random.integer(49_000)), endOfText]);

const model = new Clip(preset(values.preset), { seed: 1 });
const longest = Math.max(...lengths);
const inOrder = texts.map((_, i) => i);
const byLength = inOrder.toSorted((a, b) => lengths[a]! - lengths[b]!);
const ways: Record<string, { order: number[]; width: (own: number) => number }> = {
  "filled up to 77": { order: inOrder, width: () => context },
  "to the longest of the batch": { order: inOrder, width: () => longest },
  "to the longest of the micro-batch": { order: inOrder, width: (own) => own },
  "dealt by length": { order: byLength, width: (own) => own },
};

/** The micro-batches of a way: rows of tokens. */
function parts({ order, width }: (typeof ways)[string]): { ids: Int32Array; rows: number; width: number }[] {
  const found = [];
  for (let from = 0; from < batch; from += micro) {
    const rows = order.slice(from, from + micro).map((i) => texts[i]!);
    const wide = width(Math.max(...rows.map((row) => row.length)));
    const ids = new Int32Array(rows.length * wide);
    rows.forEach((row, i) => ids.set(row, i * wide));
    found.push({ ids, rows: rows.length, width: wide });
  }
  return found;
}

function run(way: (typeof ways)[string]): number {
  const all = parts(way);
  const started = process.cpuUsage();
  for (const { ids, rows, width } of all) {
    scope(() => {
      const features = model.encodeTexts(Tensor.from(ids, [rows, width]).to("int64"));
      features.pow(2).mean().backward();
    });
  }
  model.zeroGrad();
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1e6;
}

const times = new Map(Object.keys(ways).map((name) => [name, [] as number[]]));
run(ways["dealt by length"]!);
for (let round = 0; round < Number(values.rounds); round++) for (const [name, way] of Object.entries(ways)) times.get(name)!.push(run(way));
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
const real = lengths.reduce((a, b) => a + b);
const rows = Object.entries(ways).map(([name, way]) => {
  const cells = parts(way).reduce((sum, part) => sum + part.rows * part.width, 0);
  const products = parts(way).reduce((sum, part) => sum + part.rows * part.width ** 2, 0);
  return `| ${name} | ${real} | ${cells} | ${(products / 1e3).toFixed(0)} | ${median(times.get(name)!).toFixed(2)} |`;
});
console.log(
  `${batch} texts, micro-batches of ${micro}, mean ${(real / batch).toFixed(1)} tokens, longest ${longest}; ${values.preset}\n\n` +
    `| way | tokens in most layers | in attention | thousand products | processor s |\n|---|--:|--:|--:|--:|\n${rows.join("\n")}`,
);
