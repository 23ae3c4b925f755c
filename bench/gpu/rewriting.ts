/**
 * Captions a second that the embedded engine rewrites with a model of LLaMA-2-7B's shape, after loading and a first round.
 *
 *   node dist/bench/gpu/rewriting.js --model MODEL.gguf --make q8_0
 *   node dist/bench/gpu/rewriting.js --model MODEL.gguf --device cuda --sequences 64 --seconds 12 [--ungrouped]
 *
 * Captions, examples, prompts and groups are those of `laclip rewrite`: 65,536 captions (a chunk), the source "chatgpt", the paper's prompt.
 * Without `--ungrouped` they come in groups with the same examples, whose beginning is evaluated once; with it in the order of the data, each
 * prompt evaluated whole. Random weights never end a text, so every answer is cut at `--tokens`, 24 by default.
 *
 * Prints one JSON object.
 */
import { parseArgs } from "node:util";
import { LlamaContext } from "node-llama-cpp";
import { LlamaCppEngine, builtInSources, findPromptForm, isFailure, paperSampling, requestGroups } from "../../src/rewriting/index.ts";
import type { RewriteGroup } from "../../src/rewriting/index.ts";
import { type LargeStore, llama7b, small, writeLargeLlama } from "./large-llama.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    make: { type: "string" },
    small: { type: "boolean", default: false },
    device: { type: "string", default: "cuda" },
    sequences: { type: "string" },
    batch: { type: "string" },
    tokens: { type: "string", default: "24" },
    seconds: { type: "string", default: "12" },
    ungrouped: { type: "boolean", default: false },
  },
});
const { model: path } = values;
if (path === undefined) throw new Error("--model is missing");

/** What llama.cpp was asked to compute, and how long it took. */
const decoded = { seconds: 0, sequences: 0 };

/** Has every context tell how long it computes; the rest of the time goes into drawing tokens and handing them around. */
function watchContexts(): void {
  interface Inner {
    _ctx: { decodeBatch: () => Promise<void> };
    totalSequences: number;
  }
  const prototype = LlamaContext.prototype as unknown as { getSequence: (this: Inner, ...rest: unknown[]) => unknown };
  const { getSequence } = prototype;
  const watched = new WeakSet<object>();
  prototype.getSequence = function (...rest) {
    const context = this._ctx;
    if (!watched.has(context)) {
      watched.add(context);
      // One of them holds the beginning that prompts share.
      decoded.sequences = this.totalSequences - 1;
      const decodeBatch = context.decodeBatch.bind(context);
      const value = async (): Promise<void> => {
        const started = performance.now();
        await decodeBatch();
        decoded.seconds += (performance.now() - started) / 1000;
      };
      // A plain assignment is refused: the method is read-only on the prototype.
      Object.defineProperty(context, "decodeBatch", { value });
    }
    return getSequence.apply(this, rest);
  };
}

/** Captions as the example pairs have them, which people's and models' captions were the measure of: some twelve words. */
function captions(count: number): { number: number; id: string; caption: string }[] {
  const texts = builtInSources.flatMap(({ pairs = [], groups = [] }) => [...pairs, ...groups].flat());
  return Array.from({ length: count }, (_, number) => ({ number, id: String(number), caption: texts[number % texts.length]! }));
}

async function* untilTime(groups: AsyncIterable<RewriteGroup>, isOver: () => boolean): AsyncGenerator<RewriteGroup> {
  for await (const group of groups) {
    if (values.ungrouped) {
      for (const request of group) {
        if (isOver()) return;
        yield [request];
      }
    } else {
      if (isOver()) return;
      yield group;
    }
  }
}

/** Groups as a chunk of a job has them, or the same requests in the order of the data. */
async function* requests(isOver: () => boolean): AsyncGenerator<RewriteGroup> {
  const pairs = builtInSources.find(({ name }) => name === "chatgpt")!;
  const source = { name: "chatgpt", pairs, knownOutputs: new Set<string>() };
  const options = { form: findPromptForm("paper"), runSeed: 0, withExamples: true, attempt: 0 };
  const groups = requestGroups(source, captions(values.small ? 2048 : 65_536), options);
  if (!values.ungrouped) return yield* untilTime(groups, isOver);
  const all: RewriteGroup[number][] = [];
  for await (const group of groups) all.push(...group);
  all.sort((a, b) => Number(a.id) - Number(b.id));
  yield* untilTime(
    (async function* () {
      yield await Promise.resolve(all);
    })(),
    isOver,
  );
}

async function measure(model: string): Promise<Record<string, unknown>> {
  watchContexts();
  const asked = values.sequences === undefined ? undefined : Number(values.sequences);
  const loading = performance.now();
  const engine = new LlamaCppEngine({
    model,
    gpu: values.device !== "cpu",
    sharePrefix: !values.ungrouped,
    sampling: { ...paperSampling, maxTokens: Number(values.tokens) },
    ...(asked === undefined ? {} : { sequences: asked }),
    ...(values.batch === undefined ? {} : { batchSize: Number(values.batch) }),
  });
  try {
    await engine.describe();
    const { sequences } = decoded;
    const loaded = (performance.now() - loading) / 1000;
    const started = performance.now();
    const done: { at: number; decoded: number }[] = [];
    let [prompt, written] = [0, 0];
    // All captions of a round end together: time runs from the end of the first round to that of the last whole one.
    const isOver = (): boolean => done.length >= 2 * sequences && performance.now() - started > 1000 * Number(values.seconds);
    for await (const outcome of engine.rewrite(requests(isOver), new AbortController().signal)) {
      if (isFailure(outcome)) throw outcome.error;
      done.push({ at: performance.now(), decoded: decoded.seconds });
      prompt += outcome.promptTokens ?? 0;
      written += outcome.tokens;
    }
    const [first, last] = [done[sequences - 1]!, done[Math.floor(done.length / sequences) * sequences - 1]!];
    const rounds = Math.floor(done.length / sequences) - 1;
    const seconds = (last.at - first.at) / 1000;
    return {
      sequences,
      grouped: !values.ungrouped,
      drawingThreads: Number(process.env["UV_THREADPOOL_SIZE"] ?? 4),
      captionsPerSecond: (rounds * sequences) / seconds,
      promptTokens: prompt / done.length,
      newTokens: written / done.length,
      seconds,
      rounds,
      computing: (last.decoded - first.decoded) / seconds,
      loaded,
    };
  } finally {
    await engine.close();
  }
}

if (values.make === undefined) {
  process.stdout.write(`${JSON.stringify(await measure(path))}\n`);
} else {
  const started = performance.now();
  writeLargeLlama(path, values.small ? small : llama7b, values.make as LargeStore);
  process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - started) / 1000 })}\n`);
}
