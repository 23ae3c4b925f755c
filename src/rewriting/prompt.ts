/**
 * The prompt of LaCLIP's rewriting code (rewrite/llama_rewrite.py), byte for byte, and the way back from a completion to a caption.
 *
 * The task line, three examples and the caption, each "input => output" on a line of its own; the twelve spaces before the later
 * lines are an accident of the original's source text, kept because they are part of what the model saw. The original finds the
 * answer by counting lines of prompt and answer together, which a caption with an arrow or a line break upsets; here captions are
 * made safe first, and only what the model added is read.
 */
import type { Example } from "./pairs.ts";

const taskLine = "write image captions differently,";
const between = "\n\n            ";

/** Longest caption that goes into a prompt, in UTF-16 units; the rest would be cut off by the text tower's 77 tokens anyway. */
export const maximumCaption = 400;

/** What the prompt consists of besides caption and pairs, for the hash that tells prompts apart. */
export const promptForm = renderPrompt([{ id: "", input: "{input}", output: "{output}" }], "{caption}");

/** The whole prompt; it ends in " =>" with nothing after it. */
export function renderPrompt(examples: readonly Example[], caption: string): string {
  return [taskLine, ...examples.map(({ input, output }) => `${input} => ${output}`), `${caption} =>`].join(between);
}

/** A caption as it goes into a prompt. */
export interface SafeCaption {
  readonly text: string;
  /** True where words were left out at the end. */
  readonly shortened: boolean;
}

/** One line without control characters or arrows, and no longer than `maximum`, cut between words. */
export function safeCaption(caption: string, maximum = maximumCaption): SafeCaption {
  const line = caption
    .replace(/\p{Surrogate}/gu, "\ufffd")
    .replace(/[\p{Cc}\u2028\u2029\s]+/gu, " ")
    .replace(/=+>/g, "->")
    .trim();
  return shorten(line, maximum);
}

/** The beginning of a text, cut between words; a single word that is too long is cut between characters. */
export function shorten(text: string, maximum: number): SafeCaption {
  if (text.length <= maximum) return { text, shortened: false };
  const edge = text.lastIndexOf(" ", maximum);
  // Cutting through a surrogate pair would leave half a character.
  const within = text.slice(0, maximum).replace(/[\ud800-\udbff]$/, "");
  return { text: edge > 0 ? text.slice(0, edge).trimEnd() : within, shortened: true };
}

/** The rewrite in a completion: the first line of what the model added, without the spaces around it. */
export function readCompletion(completion: string): string {
  return completion.split(/\r\n|[\n\r\u0085\u2028\u2029\v\f]/, 1)[0]!.trim();
}
