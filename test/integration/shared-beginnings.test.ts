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

async function write(options: Partial<LlamaCppOptions>, form = findPromptForm("paper"), path = model): Promise<Completion[]> {
  const engine = new LlamaCppEngine({ model: path, gpu: false, threads: 1, flashAttention: false, sampling: short, ...options });
  try {
    await engine.describe();
    const written: Completion[] = [];
    const asked = (async function* (): AsyncGenerator<RewriteGroup> {
      yield* groups(form);
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

const texts = (completions: readonly Completion[]): string[][] =>
  completions.map(({ request, text, finish }) => [request.id, text, finish]);

test("the same texts come with shared beginnings, without them, and for any number of sequences", needsLlama, async () => {
  const whole = await write({ sequences: 1, sharePrefix: false });
  assert.equal(whole.length, 16);
  assert.ok(new Set(whole.map(({ text }) => text)).size > 10, "the texts hardly differ");
  for (const sequences of [1, 2, 5]) assert.deepEqual(texts(await write({ sequences })), texts(whole));
});

test("with a library that can't copy, or whose copying fails, the texts are the same", needsLlama, async () => {
  const whole = await write({ sequences: 3, sharePrefix: false });
  const prototype = library!.LlamaContextSequence.prototype as unknown as Record<string, unknown>;
  const copy = prototype["_copyStateFromOtherSequence"];
  assert.equal(typeof copy, "function", "node-llama-cpp of another version: sharing falls back to the public way");
  try {
    prototype["_copyStateFromOtherSequence"] = undefined;
    assert.deepEqual(texts(await write({ sequences: 3 })), texts(whole));
    prototype["_copyStateFromOtherSequence"] = async () => await Promise.resolve(false);
    assert.deepEqual(texts(await write({ sequences: 3 })), texts(whole));
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
  const whole = await write({ sequences: 3, sharePrefix: false }, conversation, tuned);
  assert.equal(whole.length, 16);
  assert.ok(
    whole.some(({ text }) => /\n[^\n]/.test(text)),
    "a line's end ended the answers",
  );
  assert.ok(whole.every(({ tokens }) => tokens <= 200) && whole.some(({ tokens }) => tokens > 20));
  assert.deepEqual(texts(await write({ sequences: 3 }, conversation, tuned)), texts(whole));
});

test("a model without a template is refused for conversations, in words", needsLlama, async () => {
  await assert.rejects(
    write({ sequences: 2 }, conversation),
    (error) => error instanceof UsageError && /no chat template/.test(error.message) && /--prompt/.test(error.mend ?? ""),
  );
});
