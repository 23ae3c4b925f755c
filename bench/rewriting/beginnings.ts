/**
 * What it brings to evaluate the beginning of a group's prompts once: captions per second of the embedded engine with each prompt
 * evaluated whole against grouped prompts with shared beginnings, in turn, and whether both write the same texts.
 *
 *   node dist/bench/rewriting/beginnings.js [--captions 48] [--group 16] [--sequences 16] [--rounds 3] [--store q8_0|f32] [--flash]
 *
 * The model is a LLaMA of 100 million random parameters, made once in build/bench. Prompts have 150 tokens that a group shares
 * and 15 of their own, answers have 25: newline and the end of the text are made impossible.
 *
 * With Q8_0, llama.cpp rounds what goes into each product to eight bits, and what shares a batch decides now and then which way: texts
 * also differ between two runs with other numbers of sequences. With F32 they are the same.
 */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { LlamaCppEngine, isFailure } from "../../src/rewriting/index.ts";
import type { Example, PromptForm, RewriteGroup, RewriteRequest } from "../../src/rewriting/index.ts";
import { Random } from "../../src/support/index.ts";
import { tinyLlama, writeGguf } from "../../test/integration/tiny-gguf.ts";

const { values } = parseArgs({
  options: {
    captions: { type: "string", default: "48" },
    group: { type: "string", default: "16" },
    sequences: { type: "string", default: "16" },
    rounds: { type: "string", default: "3" },
    store: { type: "string", default: "q8_0" },
    flash: { type: "boolean", default: false },
  },
});
const [captions, groupSize, sequences, rounds] = [values.captions, values.group, values.sequences, values.rounds].map(Number) as [
  number,
  number,
  number,
  number,
];
const store = values.store === "f32" ? "f32" : "q8_0";

const [prefixTokens, captionTokens, newTokens] = [150, 15, 25];
const consonants = "bdfgklmnprst";
/** Words of three letters, each one token of the model. */
const words = Array.from(consonants).flatMap((first) => Array.from("aeiou", (vowel) => `${first}${vowel}${first}`));

/** A model of 100 million parameters that never ends a line. */
function model(): string {
  const folder = join(fileURLToPath(new URL("../../../", import.meta.url)), "build", "bench");
  const path = join(folder, `random-llama-100m.${store}.gguf`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const shape = { width: 640, feedForward: 1728, layers: 12, heads: 10, vocabulary: 32_000 };
  const made = tinyLlama({ shape, spread: 0.12, words });
  const output = made.tensors.find(({ name }) => name === "output.weight")!.data;
  // Five times as steep, the next token is about as certain as with a trained model.
  for (let i = 0; i < output.length; i++) output[i]! *= 5;
  for (const token of [2, 3 + 0x0a]) output.fill(0, token * shape.width, (token + 1) * shape.width);
  writeGguf(`${path}.tmp`, { ...made, store });
  renameSync(`${path}.tmp`, path);
  return path;
}

const form: PromptForm = {
  name: "benchmark",
  description: "words only, so that each is one token",
  merges: false,
  render: ({ examples, caption }) => ({ kind: "text", shared: examples.map(({ input }) => input).join(" "), own: ` ${caption}` }),
  read: (answer) => answer,
};

function requests(): RewriteRequest[] {
  const random = Random.of("beginnings");
  const text = (count: number): string => Array.from({ length: count }, () => random.choice(words)).join(" ");
  const groups = Array.from({ length: Math.ceil(captions / groupSize) }, (_, group): Example[] =>
    Array.from({ length: 3 }, (_unused, i) => ({ id: `${group}/${i}`, input: text(prefixTokens / 3), output: "" })),
  );
  return Array.from({ length: captions }, (_, i) => {
    const caption = text(captionTokens);
    const examples = groups[Math.floor(i / groupSize)]!;
    return { id: String(i), source: "benchmark", original: caption, caption, shortened: false, examples, form, seed: i };
  });
}

async function* inGroups(all: readonly RewriteRequest[], size: number): AsyncGenerator<RewriteGroup> {
  for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size);
}

interface Written {
  /** Captions a second, by the clock. */
  rate: number;
  /** Captions a second of processor time. */
  cpuRate: number;
  texts: Map<string, string>;
  tokens: number;
}

async function write(path: string, grouped: boolean): Promise<Written> {
  const engine = new LlamaCppEngine({
    model: path,
    gpu: false,
    threads: 1,
    sequences,
    contextSize: 256,
    sampling: { temperature: 0.9, topP: 0.95, maxTokens: newTokens },
    sharePrefix: grouped,
    flashAttention: values.flash,
  });
  try {
    await engine.describe();
    const all = requests();
    // Captions in the order of the data have all different examples: one from each group in turn.
    const ungrouped = all.toSorted((a, b) => (Number(a.id) % groupSize) - (Number(b.id) % groupSize));
    const texts = new Map<string, string>();
    let tokens = 0;
    const started = performance.now();
    const before = process.cpuUsage();
    const source = grouped ? inGroups(all, groupSize) : inGroups(ungrouped, 1);
    for await (const outcome of engine.rewrite(source, new AbortController().signal)) {
      if (isFailure(outcome)) throw outcome.error;
      texts.set(outcome.request.id, outcome.text);
      tokens += outcome.tokens;
    }
    const { user, system } = process.cpuUsage(before);
    return { rate: captions / ((performance.now() - started) / 1000), cpuRate: captions / ((user + system) / 1e6), texts, tokens };
  } finally {
    await engine.close();
  }
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
const path = model();
const found: { ungrouped: number; grouped: number; ratio: number; cpuRatio: number; identical: number }[] = [];
for (let round = 0; round < rounds; round++) {
  const [ungrouped, grouped] = [await write(path, false), await write(path, true)];
  if (ungrouped.tokens !== captions * newTokens) throw new Error(`${ungrouped.tokens} tokens came, expected ${captions * newTokens}`);
  const identical = [...ungrouped.texts].filter(([id, text]) => grouped.texts.get(id) === text).length;
  const [ratio, cpuRatio] = [grouped.rate / ungrouped.rate, grouped.cpuRate / ungrouped.cpuRate];
  found.push({ ungrouped: ungrouped.rate, grouped: grouped.rate, ratio, cpuRatio, identical });
  process.stderr.write(
    `round ${round + 1}: ungrouped ${ungrouped.rate.toFixed(2)}, grouped ${grouped.rate.toFixed(2)} captions/s, ` +
      `${ratio.toFixed(2)} times (${cpuRatio.toFixed(2)} by processor time); ${identical} of ${captions} texts the same\n`,
  );
}
const settings = { store, captions, group: groupSize, sequences, prefixTokens, captionTokens, newTokens, flashAttention: values.flash };
process.stdout.write(
  `${JSON.stringify({ settings, rounds: found, medianRatio: median(found.map(({ ratio }) => ratio)), medianCpuRatio: median(found.map(({ cpuRatio }) => cpuRatio)) })}\n`,
);
