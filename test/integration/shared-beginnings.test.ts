/**
 * Prompts whose beginnings are evaluated once and copied: the texts are those of prompts evaluated whole, with the library's copying
 * and without it, whatever the size of groups; and conversations in the model's own template.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LlamaCppEngine, drawExamples, findPromptForm, isFailure, paperSampling } from "../../src/rewriting/index.ts";
import type { Completion, LlamaCppOptions, PairSource, PromptForm, RewriteGroup, RewriteRequest } from "../../src/rewriting/index.ts";
import { UsageError } from "../../src/support/index.ts";
import { tinyLlama, writeGguf } from "./tiny-gguf.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-beginnings-"));
after(() => rmSync(folder, { recursive: true }));

const library = await import("node-llama-cpp").catch(() => undefined);
const needsLlama = { skip: library ? false : "node-llama-cpp is not installed" };

const words = ["dog", "cat", "cow", "pig", "bus", "one", "here", "red", "two", "Rewrite", "the", "following", "image", "descriptions:"];
const model = writeGguf(join(folder, "tiny.gguf"), tinyLlama({ lineEnd: 3, words }));

const source: PairSource = {
  name: "short",
  provenance: "a test",
  pairs: [
    ["a dog", "one dog here"],
    ["a cat", "one cat here"],
    ["a cow", "one cow here"],
    ["a pig", "one pig here"],
  ],
};

/** Groups as the scheduler makes them: of one, of few and of many captions, some of which begin alike. */
function groups(form: PromptForm): RewriteGroup[] {
  const sizes = [1, 5, 2, 1, 7];
  return sizes.map((size, group) => {
    const { examples } = drawExamples(source, 1, `group ${group}`);
    return Array.from({ length: size }, (_, i): RewriteRequest => {
      const caption = i % 3 === 0 ? `a red bus ${i}` : `x${"two birds ".repeat(i)}`;
      return { id: `${group}-${i}`, source: "short", original: caption, caption, shortened: false, examples, form, seed: group * 100 + i };
    });
  });
}

const short = { ...paperSampling, maxTokens: 20 };

async function write(
  options: Partial<LlamaCppOptions>,
  form = findPromptForm("paper"),
  path = model,
  count = Infinity,
): Promise<Completion[]> {
  const engine = new LlamaCppEngine({ model: path, gpu: false, threads: 1, sampling: short, ...options });
  try {
    await engine.describe();
    const written: Completion[] = [];
    const asked = (async function* (): AsyncGenerator<RewriteGroup> {
      yield* groups(form).slice(0, count);
    })();
    for await (const outcome of engine.rewrite(asked, new AbortController().signal)) {
      if (isFailure(outcome)) throw outcome.error;
      written.push(outcome);
    }
    return written.sort((a, b) => (a.request.id < b.request.id ? -1 : 1));
  } finally {
    await engine.close();
  }
}

/** Share of the letters of all texts up to where each text first differs from its counterpart, 0..1. */
function shareBeforeDifference(found: readonly Completion[], expected: readonly Completion[]): number {
  let same = 0;
  let all = 0;
  expected.forEach(({ text }, i) => {
    const other = found[i]!.text;
    let at = 0;
    while (at < text.length && text[at] === other[at]) at++;
    same += text === other ? text.length : at;
    all += text.length;
  });
  return same / all;
}

/**
 * Throws unless the texts are the same but for rounding.
 *
 * How many tokens are evaluated together decides, on some processors, which of llama.cpp's kernels multiplies them and so how sums are
 * rounded. A draw that was close may then fall to another token, after which a text goes its own way: that happens to a draw in some
 * hundreds. Texts whose beginning was copied wrongly differ within their first letters (which the first test shows).
 */
function assertSame(found: readonly Completion[], expected: readonly Completion[]): void {
  assert.deepEqual(
    found.map(({ request }) => request.id),
    expected.map(({ request }) => request.id),
  );
  const share = shareBeforeDifference(found, expected);
  assert.ok(share > 0.35, `${Math.round(100 * share)} % of the letters come before a difference`);
}

/** The paper's prompt with the examples in another order. */
const otherBeginning: PromptForm["render"] = (parts) => findPromptForm("paper").render({ ...parts, examples: parts.examples.toReversed() });

test("the same texts come with shared beginnings, without them, and for any number of sequences", needsLlama, async () => {
  const whole = await write({ sequences: 1, sharePrefix: false });
  assert.equal(whole.length, 16);
  assert.ok(new Set(whole.map(({ text }) => text)).size > 10, "the texts hardly differ");
  for (const sequences of [1, 5]) assertSame(await write({ sequences }), whole);
  const others = await write({ sequences: 1, sharePrefix: false }, { ...findPromptForm("paper"), render: otherBeginning });
  const share = shareBeforeDifference(others, whole);
  assert.ok(share < 0.15, `with other examples, ${Math.round(100 * share)} % of the letters come before a difference`);
});

test("with a library that can't copy, or whose copying fails, the texts are the same", needsLlama, async () => {
  const whole = await write({ sequences: 3, sharePrefix: false });
  const prototype = library!.LlamaContextSequence.prototype as unknown as Record<string, unknown>;
  const copy = prototype["_copyStateFromOtherSequence"];
  assert.equal(typeof copy, "function", "node-llama-cpp of another version: sharing falls back to the public way");
  try {
    prototype["_copyStateFromOtherSequence"] = undefined;
    assertSame(await write({ sequences: 3 }), whole);
    prototype["_copyStateFromOtherSequence"] = async () => await Promise.resolve(false);
    assertSame(await write({ sequences: 3 }), whole);
  } finally {
    prototype["_copyStateFromOtherSequence"] = copy;
  }
});

test("of the prompts of a group, only what is their own is evaluated", needsLlama, async () => {
  type Evaluate = (this: unknown, input: readonly unknown[], ...rest: unknown[]) => Promise<unknown>;
  const prototype = library!.LlamaContextSequence.prototype as unknown as Record<"controlledEvaluate", Evaluate>;
  const { controlledEvaluate: evaluate } = prototype;
  const lengths: number[] = [];
  prototype.controlledEvaluate = async function (input, ...rest) {
    if (input.length > 1) lengths.push(input.length);
    return await evaluate.call(this, input, ...rest);
  };
  const sum = (): number => lengths.splice(0).reduce((a, b) => a + b, 0);
  try {
    await write({ sequences: 3, sharePrefix: false });
    const whole = sum();
    await write({ sequences: 3 });
    const own = sum();
    assert.ok(own < whole / 2, `${own} of ${whole} tokens`);
  } finally {
    prototype.controlledEvaluate = evaluate;
  }
});

const template =
  "{% for message in messages %}{{ '[' + message['role'] + '] ' + message['content'] + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}";

const conversation: PromptForm = {
  name: "conversation",
  description: "for a test",
  merges: false,
  render: ({ examples, caption }) => ({
    kind: "chat",
    messages: [
      { role: "system", content: "Rewrite the captions." },
      ...examples.flatMap(
        ({ input, output }) =>
          [
            { role: "user", content: input },
            { role: "assistant", content: output },
          ] as const,
      ),
      { role: "user", content: caption },
    ],
  }),
  read: (answer) => answer.trim(),
};

test("conversations are put in the model's own template, and answers may have several lines", needsLlama, async () => {
  const tuned = writeGguf(join(folder, "tuned.gguf"), tinyLlama({ lineEnd: 4, template, words, contextLength: 512 }));
  const whole = await write({ sequences: 3, sharePrefix: false }, conversation, tuned, 2);
  assert.equal(whole.length, 6);
  assert.ok(
    whole.some(({ text }) => /\n[^\n]/.test(text)),
    "a line's end ended the answers",
  );
  assert.ok(whole.every(({ tokens }) => tokens <= 200) && whole.some(({ tokens }) => tokens > 20));
  assertSame(await write({ sequences: 3 }, conversation, tuned, 2), whole);
});

test("a model without a template is refused for conversations, in words", needsLlama, async () => {
  await assert.rejects(
    write({ sequences: 2 }, conversation),
    (error) => error instanceof UsageError && /no chat template/.test(error.message) && /--prompt/.test(error.mend ?? ""),
  );
  const broken = writeGguf(join(folder, "broken.gguf"), tinyLlama({ template: "{% for message in %}{{ message }", words }));
  await assert.rejects(
    write({ sequences: 2 }, conversation, broken),
    (error) => error instanceof UsageError && /template of this model can't be used/.test(error.message),
  );
});

test("what the model draws follows temperature, then top-p (chi-square)", needsLlama, async () => {
  // Without layers that say something and with the same vector for every token, each step has the same, known probabilities.
  const flat = tinyLlama({ words });
  const width = 32;
  for (const { name, data } of flat.tensors) if (name.startsWith("blk.") && !name.includes("norm")) data.fill(0);
  flat.tensors.find(({ name }) => name === "token_embd.weight")!.data.fill(1);
  const output = flat.tensors.find(({ name }) => name === "output.weight")!.data;
  const logits = Array.from(
    { length: output.length / width },
    (_, token) => -0.9 * Math.log(1 + ((token * 7919) % (output.length / width))),
  );
  // Newline and the control tokens, which would end a text, are never drawn.
  for (const token of [0, 1, 2, 3 + 0x0a]) logits[token] = -1000;
  logits.forEach((logit, token) => output.fill(logit / width, token * width, (token + 1) * width));
  const path = writeGguf(join(folder, "flat.gguf"), flat);

  const [temperature, topP] = [0.6, 0.8];
  const engine = new LlamaCppEngine({ model: path, gpu: false, threads: 1, sequences: 4, sampling: { temperature, topP, maxTokens: 200 } });
  const counts = logits.map(() => 0);
  const prototype = library!.LlamaModel.prototype as unknown as Record<"detokenize", (this: unknown, tokens: readonly number[]) => string>;
  const { detokenize } = prototype;
  try {
    // Texts of single bytes don't tell their tokens; what is turned into text does.
    prototype.detokenize = function (tokens) {
      if (tokens.length === 200) for (const token of tokens) counts[token]!++;
      return detokenize.call(this, tokens);
    };
    await engine.describe();
    const asked = (async function* (): AsyncGenerator<RewriteGroup> {
      yield groups(findPromptForm("paper"))[4]!.flatMap((request) =>
        Array.from({ length: 4 }, (_, i) => ({ ...request, id: `${request.id}/${i}`, seed: request.seed * 10 + i })),
      );
    })();
    for await (const outcome of engine.rewrite(asked, new AbortController().signal)) assert.ok(!isFailure(outcome));
  } finally {
    prototype.detokenize = detokenize;
    await engine.close();
  }
  const draws = counts.reduce((a, b) => a + b, 0);
  assert.equal(draws, 28 * 200);
  const order = logits.map((_, token) => token).sort((a, b) => logits[b]! - logits[a]!);
  const weights = order.map((token) => Math.exp(logits[token]! / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  let inside = 0;
  let sum = 0;
  while (sum <= topP * total) sum += weights[inside++]!;
  // With top-p first, as llama.cpp would draw, there would be many more of them.
  assert.ok(inside > 5 && inside < 60, `${inside} tokens in the nucleus`);
  const outside = order.slice(inside).reduce((drawn, token) => drawn + counts[token]!, 0);
  assert.equal(outside, 0, "tokens outside of the nucleus were drawn");
  const statistic = order.slice(0, inside).reduce((found, token, i) => {
    const expected = (draws * weights[i]!) / sum;
    return found + (counts[token]! - expected) ** 2 / expected;
  }, 0);
  const freedom = inside - 1;
  assert.ok(statistic < freedom + 5 * Math.sqrt(2 * freedom), `chi-square ${statistic} with ${freedom} degrees of freedom`);
});
