/**
 * The embedded language model: loading, sampling, stopping, and files that would end the whole process.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkGguf, readGgufHeader } from "../../src/formats/index.ts";
import type { Rewrite } from "../../src/data/index.ts";
import { LlamaCppEngine, builtInSources, chooseSources, findPromptForm, openCaptions, rewriteCaptions } from "../../src/rewriting/index.ts";
import type { LlamaCppOptions, PairSource, RewriteSummary } from "../../src/rewriting/index.ts";
import { ModelFormatError, UsageError } from "../../src/support/index.ts";
import { runLaclip } from "./laclip.ts";
import { rewritesIn } from "./rewrites-in.ts";
import { tinyLlama, writeGguf } from "./tiny-gguf.ts";
import type { TinyGguf } from "./tiny-gguf.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-gguf-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const place = (name = ""): string => join(folder, `${files++}-${name}`);
const root = fileURLToPath(new URL("../../../", import.meta.url));

const installed = await import("node-llama-cpp").then(
  () => true,
  () => false,
);
const needsLlama = { skip: installed ? false : "node-llama-cpp is not installed" };
const stories = join(root, "../shared/data/stories260K.gguf");
const needsStories = {
  skip: !installed ? "node-llama-cpp is not installed" : existsSync(stories) ? false : "stories260K.gguf is not here",
};

const shortPairs: PairSource = {
  name: "short",
  provenance: "a test",
  pairs: [
    ["a dog", "one dog here"],
    ["a cat", "one cat here"],
    ["a cow", "one cow here"],
    ["a pig", "one pig here"],
  ],
};

async function rewriteWith(
  model: string,
  captions: string,
  change: Partial<LlamaCppOptions> = {},
  sources: readonly PairSource[] = [shortPairs],
): Promise<{ summary: RewriteSummary; rows: Rewrite[] }> {
  const engine = new LlamaCppEngine({ model, gpu: false, threads: 1, ...change });
  const out = place("rewrites");
  try {
    const summary = await rewriteCaptions({ captions: await openCaptions(captions), out, engine, sources, seed: 1, createdWith: "test" });
    const rows = await rewritesIn(out);
    return { summary, rows: rows.sort((a, b) => (a.source + a.id < b.source + b.id ? -1 : 1)) };
  } finally {
    await engine.close();
  }
}

const captions = place("captions.csv");
writeFileSync(
  captions,
  'id,caption\na,a red bus\nb,two birds => on a wire\nc,"line\nbreak"\nd,ein Hund läuft durch 雪\ne,\nf,a bus and a tree\n',
);

test("the longer of two captions that are to be merged gives way where the context leaves no room for the answer", needsLlama, async () => {
  const words = [
    "Merge",
    "the",
    "alt",
    "text",
    "of",
    "an",
    "image",
    "with",
    "a",
    "machine",
    "caption",
    "into",
    "one",
    "Keep",
    "names",
    "and",
    "facts",
  ];
  const model = writeGguf(place("merging.gguf"), tinyLlama({ lineEnd: 3, contextLength: 512, words }));
  const path = place("merging.csv");
  writeFileSync(path, `id,caption,seen\na,a red bus,${"雪".repeat(390)}\nb,${"雪".repeat(390)},a bus\nc,a red bus,a bus\n`);
  const merging: PairSource = {
    name: "merging",
    provenance: "a test",
    triples: [
      ["a", "b", "a b"],
      ["c", "d", "c d"],
      ["e", "f", "e f"],
    ],
  };
  const engine = new LlamaCppEngine({ model, gpu: false, threads: 1 });
  const out = place("merged");
  try {
    await rewriteCaptions({
      captions: await openCaptions(path, { secondColumn: "seen" }),
      out,
      engine,
      form: findPromptForm("fusion"),
      sources: [merging],
      seed: 1,
      createdWith: "test",
    });
  } finally {
    await engine.close();
  }
  const shortened = (await rewritesIn(out)).map(({ id, flags }) => [id, flags.includes("caption-shortened")]);
  assert.deepEqual(shortened, [
    ["a", true],
    ["b", true],
    ["c", false],
  ]);
});

test("a model written here is loaded, sampled and stopped; the same seed writes the same", needsLlama, async () => {
  const model = writeGguf(place("tiny.gguf"), tinyLlama({ lineEnd: 3 }));
  const first = await rewriteWith(model, captions, { sequences: 1 });
  const second = await rewriteWith(model, captions, { sequences: 1 });
  assert.equal(first.summary.written, 5);
  assert.equal(first.summary.emptyCaptions, 1);
  assert.deepEqual(first.rows, second.rows);
  for (const row of first.rows) {
    assert.ok(row.tokens >= 1 && row.tokens <= 77);
    assert.equal(row.finish === "length", row.tokens === 77 && row.flags.includes("cut-at-limit"));
    assert.doesNotMatch(row.text, /[\r\n]/);
    assert.equal(row.examples.length, 3);
  }
  assert.ok(
    first.rows.some(({ finish }) => finish === "stop"),
    "no line was ended",
  );
  assert.match(first.summary.model, /tiny random llama/);
});

test("several sequences at once answer every caption once, and prompts reuse what they share", needsLlama, async () => {
  const model = writeGguf(place("tiny.gguf"), tinyLlama({ lineEnd: 6 }));
  const many = place("many.csv");
  writeFileSync(many, `id,caption\n${Array.from({ length: 40 }, (_, i) => `${i},caption number ${i}`).join("\n")}\n`);
  const { rows, summary } = await rewriteWith(model, many, { sequences: 3 }, [shortPairs, { ...shortPairs, name: "other" }]);
  assert.equal(summary.written, 80);
  assert.equal(new Set(rows.map(({ source, id }) => `${source} ${id}`)).size, 80);
});

test("a caption of 10,000 characters leaves room for the answer", needsLlama, async () => {
  const model = writeGguf(place("tiny.gguf"), tinyLlama());
  const long = place("long.txt");
  writeFileSync(long, `${"word ".repeat(2000)}\n${"雪".repeat(10_000)}\n`);
  const { rows } = await rewriteWith(model, long, { contextSize: 512 });
  assert.equal(rows.length, 2);
  for (const row of rows) {
    assert.ok(row.flags.includes("caption-shortened"));
    assert.equal(row.tokens, row.finish === "length" ? 77 : row.tokens);
  }
});

test("examples that don't fit the model's context are an error that says so", needsLlama, async () => {
  const model = writeGguf(place("tiny.gguf"), tinyLlama({ contextLength: 256 }));
  await assert.rejects(rewriteWith(model, captions, {}, chooseSources(["bard"])), /Three examples of source "bard" take \d+ tokens/);
});

test("a model whose weights are no numbers, and one that lacks a tensor, are refused with what is wrong", needsLlama, async () => {
  const nan = tinyLlama();
  for (const { data } of nan.tensors) data.fill(Number.NaN);
  await assert.rejects(
    rewriteWith(writeGguf(place("nan.gguf"), nan), captions),
    (error) => error instanceof ModelFormatError && /not finite/.test(error.message),
  );
  const lacking = tinyLlama();
  lacking.tensors.splice(2, 1);
  await assert.rejects(
    rewriteWith(writeGguf(place("lacking.gguf"), lacking), captions),
    (error) => error instanceof ModelFormatError && /can't use this model/.test(error.message),
  );
});

test("a trained story model ends its lines and writes with all four sources", needsStories, async () => {
  const { rows, summary } = await rewriteWith(stories, captions, { sequences: 2 }, builtInSources);
  assert.equal(summary.written, 20);
  assert.ok(rows.filter(({ finish }) => finish === "stop").length > 10);
  assert.ok(rows.filter(({ text }) => /\b(the|and|was|a|to)\b/.test(text)).length > 10);
});

test("more captions at once than llama.cpp has sequences for are refused, and nothing is made of it", needsLlama, async () => {
  const model = writeGguf(place("tiny.gguf"), tinyLlama());
  await assert.rejects(
    rewriteWith(model, captions, { sequences: 256 }),
    (error) => error instanceof UsageError && /--concurrency 256: .* at most 255/.test(error.message),
  );
});

const damaged: readonly [what: string, damage: (model: TinyGguf) => void, says: RegExp][] = [
  ["lacks head_count", (model) => drop(model, "llama.attention.head_count"), /lacks llama\.attention\.head_count/],
  ["lacks feed_forward_length", (model) => drop(model, "llama.feed_forward_length"), /lacks llama\.feed_forward_length/],
  ["lacks its architecture", (model) => drop(model, "general.architecture"), /lacks general\.architecture/],
  ["lacks its tokens", (model) => drop(model, "tokenizer.ggml.tokens"), /lacks tokenizer\.ggml\.tokens/],
  ["has no newline token", (model) => rename(model, "<0x0A>", "<0xXX>"), /no newline token/],
  ["has a width of nothing", (model) => change(model, "llama.embedding_length", 0), /embedding_length is 0/],
  ["embeds only", (model) => change(model, "general.architecture", "bert"), /"bert" can't write text/],
  ["has too few scores", (model) => change(model, "tokenizer.ggml.scores", [1, 2]), /scores has 2 entries/],
  ["has more heads than width", (model) => change(model, "llama.attention.head_count", 64), /head_count is 64, more than/],
  ["has no heads for keys", (model) => model.entries.push(["llama.attention.head_count_kv", "u32", 0]), /head_count_kv is 0/],
  ["has more experts than can be", (model) => model.entries.push(["llama.expert_count", "u32", 999]), /expert_count is 999/],
  ["holds no weights", (model) => model.tensors.splice(0), /holds no weights/],
];

for (const [what, damage, says] of damaged) {
  test(`a model that ${what} is refused by its header`, () => {
    const model = tinyLlama();
    damage(model);
    const path = writeGguf(place("damaged.gguf"), model);
    assert.throws(
      () => checkGguf(path),
      (error) => error instanceof ModelFormatError && says.test(error.message),
    );
  });
}

test("a file cut short anywhere is refused, before llama.cpp sees it", () => {
  const whole = writeGguf(place("whole.gguf"), tinyLlama());
  const { dataOffset, fileBytes, tensors, metadata } = readGgufHeader(whole);
  assert.equal(metadata.get("llama.block_count"), 2);
  assert.equal(tensors.find(({ name }) => name === "output_norm.weight")!.bytes, 128);
  checkGguf(whole);
  const bytes = readFileSync(whole);
  for (const length of [0, 3, 4, 10, 23, 30, 200, 5000, dataOffset - 1, dataOffset, dataOffset + 1000, fileBytes - 200]) {
    const path = place("cut.gguf");
    writeFileSync(path, bytes);
    truncateSync(path, length);
    assert.throws(() => checkGguf(path), ModelFormatError, `${length} of ${statSync(whole).size} bytes`);
  }
});

test("other files, other versions and lengths beyond all bounds are refused", () => {
  const path = place("other.gguf");
  writeFileSync(path, "version https://git-lfs.github.com/spec/v1\n");
  assert.throws(() => checkGguf(path), /starts with "vers"/);
  const bytes = readFileSync(writeGguf(path, tinyLlama()));
  const patched = (at: number, value: bigint | number): void => {
    const copy = Buffer.from(bytes);
    if (typeof value === "bigint") copy.writeBigUInt64LE(value, at);
    else copy.writeUInt32LE(value, at);
    writeFileSync(path, copy);
  };
  patched(4, 1);
  assert.throws(() => checkGguf(path), /version 1, expected 2 or 3/);
  patched(8, 1n << 60n);
  assert.throws(() => checkGguf(path), ModelFormatError);
  patched(24, 1n << 40n);
  assert.throws(() => checkGguf(path), /cut short or damaged/);
  assert.throws(() => checkGguf(join(folder, "none.gguf")), /no such model file/);
  assert.throws(() => checkGguf(folder), /not a file/);
});

test("the command ends with exit code 3 where llama.cpp would have ended the process", needsLlama, async () => {
  const model = tinyLlama();
  drop(model, "llama.feed_forward_length");
  const path = writeGguf(place("aborts.gguf"), model);
  const failed = await runLaclip(["rewrite", captions, "--out", place("out"), "--llm", path, "--no-gpu"]);
  assert.equal(failed.code, 3, failed.stderr);
  assert.match(failed.stderr, /lacks llama\.feed_forward_length/);
});

function drop({ entries }: TinyGguf, key: string): void {
  entries.splice(
    entries.findIndex(([name]) => name === key),
    1,
  );
}

function change({ entries }: TinyGguf, key: string, value: string | number | number[]): void {
  const at = entries.findIndex(([name]) => name === key);
  entries[at] = [key, entries[at]![1], value];
}

function rename({ entries }: TinyGguf, from: string, to: string): void {
  const at = entries.findIndex(([name]) => name === "tokenizer.ggml.tokens");
  entries[at] = ["tokenizer.ggml.tokens", "strings", (entries[at]![2] as string[]).map((token) => (token === from ? to : token))];
}
