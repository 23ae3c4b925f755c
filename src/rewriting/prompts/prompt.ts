/**
 * What a language model is shown: the forms of the prompt, captions made safe for them, and the way back from an answer to a caption.
 *
 * Every form has a part that is the same for all captions with the same examples, and a part with the caption. The scheduler puts
 * captions with the same examples in a row, so that engines compute the first part once.
 */
import type { Example } from "../pairs/pairs.ts";

/** What goes to a language model. */
export type Prompt =
  /** Text to be continued: `shared` is the same for all captions with the same examples. */
  | { readonly kind: "text"; readonly shared: string; readonly own: string }
  /** A conversation to be answered; all but the last message are the same for all captions with the same examples. */
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What a prompt is made of. All texts are safe: see `safeCaption`. */
export interface PromptParts {
  readonly examples: readonly Example[];
  readonly caption: string;
  /** Another caption of the same image, for forms that merge two; examples then have one too. */
  readonly second?: string | undefined;
}

/** A way to ask a language model for a rewrite. */
export interface PromptForm {
  /** As `--prompt` names it. */
  readonly name: string;
  /** What it is, in a few words. */
  readonly description: string;
  /** True where a prompt needs a second caption of the same image. */
  readonly merges: boolean;
  render(parts: PromptParts): Prompt;
  /** The rewrite in what the model answered: one line, without the spaces around it. */
  read(answer: string): string;
}

/** All that a form puts around examples and caption, for the hash that tells prompts apart. */
export function signatureOf(form: PromptForm): string {
  const example = { id: "", input: "{input}", output: "{output}", ...(form.merges ? { second: "{second}" } : {}) };
  return JSON.stringify(form.render({ examples: [example], caption: "{caption}", second: form.merges ? "{second caption}" : undefined }));
}

/** Longest caption that goes into a prompt, in UTF-16 units; the rest would be cut off by the text tower's 77 tokens anyway. */
export const maximumCaption = 400;

/** A caption as it goes into a prompt. */
export interface SafeCaption {
  readonly text: string;
  /** True where words were left out at the end. */
  readonly shortened: boolean;
}

/**
 * What language models take for the end of a text or the turn of another speaker, if a caption says so. Servers read these as
 * control tokens wherever they stand.
 */
const controlTokens =
  /<\/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|think|thinking)>|<[|\uff5c][^|\uff5c<>]{1,40}[|\uff5c]>|\[\/?(?:INST|SYS)\]|<<\/?SYS>>/gi;
/** Marks that turn the direction of writing or show nothing at all; not the joiners that some scripts and emoji need. */
const invisible = /[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g;

/** Words that need no change, with one space between them: most captions are nothing but these. */
const plainWords = /^[!-;>-Z\\\]-~]+(?: [!-;>-Z\\\]-~]+)*$/;

/** One line without control characters, models' control tokens or arrows, and no longer than `maximum`, cut between words. */
export function safeCaption(caption: string, maximum = maximumCaption): SafeCaption {
  if (plainWords.test(caption)) return shorten(caption, maximum);
  const line = caption
    .replace(/\p{Surrogate}/gu, "\ufffd")
    .replace(invisible, "")
    .replace(controlTokens, " ")
    .replace(/[\p{Cc}\u2028\u2029\s]+/gu, " ")
    .replace(/=+>/g, "->")
    .trim();
  return shorten(line, maximum);
}

/** What keeps a text from standing in a prompt as an example, in words; undefined where nothing does. */
export function exampleFault(text: string): string | undefined {
  if (text.trim() === "") return "is empty";
  if (/[\r\n\v\f\u0085\u2028\u2029]/.test(text)) return "holds a line break";
  if (/[\p{Cc}\p{Surrogate}]/u.test(text)) return "holds a control character";
  if (text.includes("=>")) return 'holds "=>", which the prompt uses itself';
  if (text.search(controlTokens) >= 0) return "holds a control token of language models";
  if (text.length > maximumCaption) return `has ${text.length} characters; ${maximumCaption} is the most`;
  return undefined;
}

/** The beginning of a text, cut between words; a single word that is too long is cut between characters. */
export function shorten(text: string, maximum: number): SafeCaption {
  if (text.length <= maximum) return { text, shortened: false };
  const edge = text.lastIndexOf(" ", maximum);
  // Cutting through a surrogate pair would leave half a character.
  const within = text.slice(0, maximum).replace(/[\ud800-\udbff]$/, "");
  return { text: edge > 0 ? text.slice(0, edge).trimEnd() : within, shortened: true };
}

/** The first line of a text, without the spaces around it. */
export function firstLine(text: string): string {
  return text.split(/\r\n|[\n\r\u0085\u2028\u2029\v\f]/, 1)[0]!.trim();
}
