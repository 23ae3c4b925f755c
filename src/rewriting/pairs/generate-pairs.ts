/**
 * Example pairs from a chat model: captions of the user's own data, each rewritten by an instruction (LaCLIP, section 3.1, where
 * ChatGPT and Bard were asked by hand to rewrite captions vividly in under thirty words).
 *
 * The model is asked through the same engines as for rewriting, with a prompt of its own that shows no examples. What it answers is
 * judged more strictly than a rewrite: all captions of a data set will be written in its manner. A caption whose answers can't be
 * used gives way to another. Which captions are asked for, with which seeds, does not depend on the order of the answers.
 */
import { DataError, EndpointError, InterruptedError, Progress, Random, UsageError, log } from "../../support/index.ts";
import type { LaclipError } from "../../support/index.ts";
import type { CaptionsInput } from "../captions/captions-input.ts";
import { normalise } from "../checks/checks.ts";
import { isFailure } from "../engines/engine.ts";
import type { Completion, EngineDescription, Outcome, RewriteEngine, RewriteRequest } from "../engines/engine.ts";
import type { RecordedSource } from "./pairs-file.ts";
import { examplesPerPrompt } from "./pairs.ts";
import { captionLines, declinesTask } from "../prompts/forms/chat-answer.ts";
import { exampleFault } from "../prompts/prompt.ts";
import type { PromptForm } from "../prompts/prompt.ts";
import { sampleCaptions } from "../captions/sample-captions.ts";

/** Instructions by the name of their style. */
export const instructionStyles: Readonly<Record<string, string>> = {
  chatgpt:
    "Rewrite the image caption below so that a reader sees the picture vividly. Keep what it says, name what it names, and stay under thirty words. Answer with the new caption only.",
  bard: "Here is the caption of an image. Say the same again in a lively, descriptive sentence with details that bring the scene to life, in fewer than thirty words. Give just that one sentence.",
};

/** Where the caption goes in an instruction; without it, behind. */
const placeholder = "{caption}";
/** Answers of so many words are refused: the instruction asked for fewer. */
const wordLimit = 30;
/** How often a caption is asked for before another takes its place. */
const triesPerCaption = 3;
/** Captions drawn for each pair that is wanted; when they are used up, the model is not fit for this. */
const captionsPerPair = 4;

/** What to generate, from what, with whom. */
export interface GeneratePairsOptions {
  captions: CaptionsInput;
  /** A chat model: the prompt is a conversation. */
  engine: RewriteEngine;
  /** Name of the new source. */
  name: string;
  /** "chatgpt", "bard", or an instruction in the user's own words, with `{caption}` where the caption is to stand. */
  style: string;
  /** Default 16. */
  count?: number;
  seed: number;
  /** Program and version, for the record. */
  createdWith: string;
  /** Stops the work; nothing is kept. */
  signal?: AbortSignal;
}

/** A generated source, and what it took. */
export interface GeneratedPairs {
  readonly source: Omit<RecordedSource, "provenance">;
  /** Answers asked for. */
  readonly asked: number;
  /** How many of them were refused, by the reason. */
  readonly refused: Readonly<Record<string, number>>;
}

/**
 * Has a chat model rewrite captions drawn from a data set, until there are enough usable pairs.
 * @throws UsageError for an engine that is no language model, or fewer pairs than a prompt shows
 * @throws DataError when the captions have too few that are fit for examples
 * @throws EndpointError (or the engine's own error) when the model does not answer, or too few of its answers can be used
 * @throws InterruptedError when stopped
 */
export async function generatePairs(options: GeneratePairsOptions): Promise<GeneratedPairs> {
  const { captions, engine, name, seed, count = 16, createdWith, signal = new AbortController().signal } = options;
  if (!engine.usesExamples) {
    throw new UsageError(`--llm ${engine.name} follows no instructions.`, {
      mend: "Name a chat model: --llm http://host:port/v1, or a GGUF file of one.",
    });
  }
  if (count < examplesPerPrompt) throw new UsageError(`A prompt shows ${examplesPerPrompt} pairs; ${count} are too few for a source.`);
  const { style, instruction } = findInstruction(options.style);
  const description = await stoppable(signal, async () => await engine.describe(signal));
  const sample = await stoppable(signal, async () => await sampleCaptions(captions, { count: count * captionsPerPair, seed, signal }));
  if (sample.captions.length < count) {
    throw new DataError(
      `${captions.path}: only ${sample.captions.length} captions are fit for example pairs; ${count} are needed. Fit are different captions of four to thirty words.`,
      { mend: "Give a larger file of captions, or ask for fewer pairs with --count." },
    );
  }
  const asking = new Asking({ form: instructionForm(instruction), engine, description, seed, name, signal }, sample.captions, count);
  const pairs = await asking.all();
  return {
    source: {
      name,
      pairs,
      record: {
        by: "model",
        model: description.model,
        ...(description.modelHash === "" ? {} : { modelHash: description.modelHash }),
        style,
        instruction,
        sampling: { ...description.sampling },
        seed,
        captions: sample.dataset,
        created: new Date().toISOString(),
        createdWith,
      },
    },
    asked: asking.asked,
    refused: asking.refused,
  };
}

function findInstruction(style: string): { style: string; instruction: string } {
  const known = Object.hasOwn(instructionStyles, style) ? instructionStyles[style] : undefined;
  if (known !== undefined) return { style, instruction: known };
  // A single word is a mistyped style rather than an instruction.
  if (!/\S\s+\S/.test(style)) {
    throw new UsageError(`--style ${style}: there is no such style.`, {
      mend: `Choose ${Object.keys(instructionStyles).join(" or ")}, or give an instruction in your own words.`,
    });
  }
  return { style: "own", instruction: style.trim() };
}

/** The prompt: one message of the user, which every chat template takes. */
function instructionForm(instruction: string): PromptForm {
  return {
    name: "instruction",
    description: "an instruction and a caption",
    merges: false,
    render: ({ caption }) => ({
      kind: "chat",
      messages: [
        {
          role: "user",
          content: instruction.includes(placeholder)
            ? instruction.replaceAll(placeholder, () => caption)
            : `${instruction}\n\nCaption: ${caption}`,
        },
      ],
    }),
    read: (answer) => captionLines(answer)[0] ?? "",
  };
}

interface AskingParts {
  readonly form: PromptForm;
  readonly engine: RewriteEngine;
  readonly description: EngineDescription;
  readonly seed: number;
  readonly name: string;
  readonly signal: AbortSignal;
}

/** A pair to be found: the caption that is asked for now, and how often it was asked for. */
interface Slot {
  caption: string;
  tries: number;
  output?: string;
  /** True when all tries are used up and no other caption is left. */
  exhausted: boolean;
}

/** Rounds of questions, each for all pairs that are still missing. */
class Asking {
  asked = 0;
  readonly refused: Record<string, number> = {};
  readonly #parts: AskingParts;
  /** Captions that nothing was asked about yet. */
  readonly #spare: string[];
  readonly #slots: Slot[];
  readonly #outputs = new Set<string>();

  constructor(parts: AskingParts, captions: readonly string[], count: number) {
    this.#parts = parts;
    this.#slots = captions.slice(0, count).map((caption) => ({ caption, tries: 0, exhausted: false }));
    this.#spare = captions.slice(count);
  }

  /** @throws EndpointError when captions run out before there are enough pairs */
  async all(): Promise<(readonly [string, string])[]> {
    const progress = new Progress({ label: "pairs", total: this.#slots.length, unit: "pairs" });
    try {
      for (let open = this.#slots; open.length > 0;) {
        await this.#round(open);
        const missing = open.filter(({ output }) => output === undefined);
        progress.advance(open.length - missing.length);
        open = missing.filter((slot) => !slot.exhausted);
      }
    } finally {
      progress.finish();
    }
    const found = this.#slots.filter(({ output }) => output !== undefined);
    if (found.length === this.#slots.length) return found.map(({ caption, output }) => [caption, output!] as const);
    const reasons = Object.entries(this.refused).sort(([, a], [, b]) => b - a);
    throw new EndpointError(
      `${this.#parts.description.model}: only ${found.length} of ${this.#slots.length} pairs could be made from ${this.asked} answers. Refused were: ${reasons.map(([reason, times]) => `${reason} (${times})`).join(", ")}.`,
      { mend: "Use a model that is tuned to follow instructions, a clearer --style, or ask for fewer pairs with --count." },
    );
  }

  async #round(open: readonly Slot[]): Promise<void> {
    const { engine, signal } = this.#parts;
    const slots = new Map(open.map((slot) => [this.#request(slot), slot]));
    const outcomes = await stoppable(signal, async () => {
      const received = new Map<RewriteRequest, Outcome>();
      for await (const outcome of engine.rewrite(inOneGroup([...slots.keys()]), signal)) received.set(outcome.request, outcome);
      return received;
    });
    this.asked += slots.size;
    let failure: LaclipError | undefined;
    let answered = false;
    for (const [request, slot] of slots) {
      const outcome = outcomes.get(request);
      const failed = outcome === undefined || isFailure(outcome);
      if (failed) failure = outcome?.error ?? failure;
      else answered = true;
      const verdict = failed ? { fault: "no answer" } : this.#judge(outcome, slot.caption);
      if ("output" in verdict) this.#outputs.add(normalise((slot.output = verdict.output)));
      else this.#refuse(slot, verdict.fault);
    }
    if (!answered && failure) throw failure;
  }

  #request(slot: Slot): RewriteRequest {
    const { form, name, seed } = this.#parts;
    const { caption, tries } = slot;
    const drawn = Random.of("pairs", seed, name, caption, tries).bits() >>> 1;
    return { id: caption, source: name, original: caption, caption, shortened: false, examples: [], form, seed: drawn };
  }

  #judge({ text, finish }: Completion, caption: string): { output: string } | { fault: string } {
    const [output, ...more] = captionLines(text);
    if (finish === "length") return { fault: "cut off at the limit of tokens" };
    if (output === undefined) return { fault: "no caption in the answer" };
    if (declinesTask(output)) return { fault: "the model declined" };
    if (more.length > 0) return { fault: "more than one line" };
    const words = output.split(/\s+/).length;
    if (words >= wordLimit) return { fault: `${wordLimit} words or more` };
    if (words < 2) return { fault: "a single word" };
    const fault = exampleFault(output);
    if (fault !== undefined) return { fault: `text that ${fault}` };
    const plain = normalise(output);
    if (plain === normalise(caption)) return { fault: "the caption again" };
    return this.#outputs.has(plain) ? { fault: "the same for two captions" } : { output };
  }

  #refuse(slot: Slot, reason: string): void {
    this.refused[reason] = (this.refused[reason] ?? 0) + 1;
    log.debug(`refused: ${reason}: ${slot.caption}`);
    if (++slot.tries < triesPerCaption) return;
    const next = this.#spare.shift();
    slot.exhausted = next === undefined;
    slot.caption = next ?? slot.caption;
    slot.tries = 0;
  }
}

async function* inOneGroup(requests: readonly RewriteRequest[]): AsyncGenerator<readonly RewriteRequest[]> {
  yield requests;
}

/** What an engine says while it is being stopped is not what is wrong. */
async function stoppable<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const stopped = (cause?: unknown): InterruptedError =>
    new InterruptedError("Stopped. No pairs were written.", { mend: "Start the same command again.", cause });
  try {
    const result = await work();
    if (!signal.aborted) return result;
  } catch (error) {
    throw signal.aborted ? stopped(error) : error;
  }
  throw stopped();
}
