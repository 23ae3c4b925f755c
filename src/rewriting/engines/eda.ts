/**
 * EDA: noise on the words of a caption, the paper's baseline without a language model ("Easy Data Augmentation", Wei and Zou 2019).
 *
 * One of its four operations is drawn for each caption: replace words by WordNet synonyms, insert synonyms of its words, swap
 * words, delete words. Unlike the authors' code it takes synonyms of the meaning that a word has where it stands, gives them the
 * word's ending, leaves case and punctuation where they were, and says "an" where it must. It stays noise: that is the point.
 */
import { setImmediate } from "node:timers/promises";
import { Random } from "../../support/index.ts";
import { ungrouped } from "./engine.ts";
import type { EngineDescription, Outcome, RewriteEngine, RewriteGroup, RewriteRequest } from "./engine.ts";
import { EdaThread } from "./eda-thread.ts";
import { articleBefore } from "../words/morphology.ts";
import { Synonyms } from "../words/synonyms.ts";
import type { Replaceable } from "../words/synonyms.ts";
import { WordNet } from "../words/wordnet.ts";
import { readTokens } from "./eda-tokens.ts";
import type { Token } from "./eda-tokens.ts";

/** How much noise is made. */
export interface EdaOptions {
  /** Share of words that synonym replacement, insertion and swap touch, at least one. Default 0.1. */
  alpha?: number;
  /** Chance of each word to be deleted. Default 0.1. */
  deletion?: number;
}

type Operation = "replace" | "insert" | "swap" | "delete";

/** Goes up when the same seed gives other texts than before, so that a folder does not mix both. */
const revision = 2;
/** Fewer words make no text to train on. */
const fewestWords = 2;
/** How often all operations are tried; a caption of equal words can't be changed at all. */
const rounds = 3;
/** Captions that are changed in one go; fewer are not worth a thread. */
const blockSize = 512;
/** Blocks that the thread has before it, so that it never waits for the one that writes. */
const blocksAhead = 3;

/** Rewrites by EDA: no language model, no examples, the same text for the same seed. */
export class EdaEngine implements RewriteEngine {
  readonly name = "eda";
  readonly usesExamples = false;
  readonly #alpha: number;
  readonly #deletion: number;
  #synonyms: Synonyms | undefined;
  #thread: EdaThread | undefined;

  constructor({ alpha = 0.1, deletion = 0.1 }: EdaOptions = {}) {
    this.#alpha = alpha;
    this.#deletion = deletion;
  }

  async describe(): Promise<EngineDescription> {
    this.#synonyms ??= new Synonyms(new WordNet());
    return { model: "EDA with WordNet 3.1", modelHash: "", sampling: { alpha: this.#alpha, deletion: this.#deletion, revision } };
  }

  /** In the order of the requests. The work is done by a thread of its own, beside that which checks and writes. */
  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncGenerator<Outcome> {
    const ahead: ChangedBlock[] = [];
    for await (const block of inBlocks(groups)) {
      const texts = this.#changeAll(block);
      texts.catch(() => {}); // whoever takes the block hears of it
      ahead.push({ block, texts });
      if (ahead.length > blocksAhead) yield* outcomes(ahead.shift()!, signal);
      if (signal.aborted) return;
    }
    for (const part of ahead) yield* outcomes(part, signal);
  }

  async close(): Promise<void> {
    await this.#thread?.close();
    this.#thread = undefined;
  }

  async #changeAll(block: readonly RewriteRequest[]): Promise<readonly string[]> {
    if (block.length < blockSize) return block.map(({ caption, seed }) => this.change(caption, seed));
    this.#thread ??= new EdaThread({ alpha: this.#alpha, deletion: this.#deletion });
    return await this.#thread.change(
      block.map(({ caption }) => caption),
      Uint32Array.from(block, ({ seed }) => seed),
    );
  }

  /**
   * A caption with noise on its words.
   * @param caption one line
   * @param seed decides the operation and the words; the same seed gives the same text
   */
  change(caption: string, seed: number): string {
    const random = Random.of("eda", seed);
    const tokens = readTokens(caption);
    const before = written(tokens);
    if (tokens.length < 2) return caption;
    const count = Math.max(1, Math.floor(this.#alpha * tokens.length));
    // An operation may find nothing to do (no synonyms, a swap of equal words): then the next one is tried, and all once more.
    for (let round = 0; round < rounds; round++) {
      for (const operation of random.sample<Operation>(["replace", "insert", "swap", "delete"], 4)) {
        const changed = written(settleArticles(this.#apply(operation, tokens, count, random), tokens));
        if (changed !== before && changed.split(" ").length >= fewestWords) return changed;
      }
    }
    return before;
  }

  #apply(operation: Operation, tokens: readonly Token[], count: number, random: Random): Token[] {
    if (operation === "replace") return this.#replace(tokens, count, random);
    if (operation === "insert") return this.#insert(tokens, count, random);
    if (operation === "swap") return swap(tokens, count, random);
    return remove(tokens, this.#deletion, random);
  }

  #replace(tokens: readonly Token[], count: number, random: Random): Token[] {
    const changed = [...tokens];
    const replaceable = this.#replaceable(tokens);
    const chosen = random.sample(replaceable, Math.min(count, replaceable.length));
    // From the end, so that the places of the others stay true.
    for (const { at, length, synonyms } of chosen.toSorted((a, b) => b.at - a.at)) {
      const [first, last] = [tokens[at]!, tokens[at + length - 1]!];
      const core = likeCase(random.choice(synonyms), first.core);
      const after = core.endsWith("s") && !last.core.endsWith("s") ? last.after.replace(/^(['’])s/, "$1") : last.after;
      changed.splice(at, length, { before: first.before, core, after });
    }
    return changed;
  }

  #insert(tokens: readonly Token[], count: number, random: Random): Token[] {
    const changed = [...tokens];
    const replaceable = this.#replaceable(tokens);
    for (const { at, synonyms } of random.sample(replaceable, Math.min(count, replaceable.length))) {
      const synonym = random.choice(synonyms);
      // Between words: the first keeps its capital, the last its full stop.
      const place = 1 + random.integer(changed.length - 1);
      changed.splice(place, 0, { before: "", core: isShouted(tokens[at]!.core) ? synonym.toUpperCase() : synonym, after: "" });
    }
    return changed;
  }

  #replaceable(tokens: readonly Token[]): Replaceable[] {
    this.#synonyms ??= new Synonyms(new WordNet());
    const capitals = tokens.filter(({ core }) => isCapital(core)).length;
    const titled = capitals > tokens.length / 2;
    const found = this.#synonyms.replaceable(tokens.map(({ core }) => core.toLowerCase()));
    return found.filter(({ at, length }) => {
      for (let i = at; i < at + length; i++) {
        // A capital inside of a sentence is a name's; a comma inside of a compound says that it is none.
        if (!titled && isCapital(tokens[i]!.core) && !opensSentence(tokens, i)) return false;
        if (i + 1 < at + length && tokens[i]!.after !== "") return false;
      }
      return true;
    });
  }
}

async function* inBlocks(groups: AsyncIterable<RewriteGroup>): AsyncGenerator<RewriteRequest[]> {
  let block: RewriteRequest[] = [];
  for await (const request of ungrouped(groups)) {
    if (block.push(request) < blockSize) continue;
    yield block;
    block = [];
  }
  if (block.length > 0) yield block;
}

/** Requests whose texts are being made. */
interface ChangedBlock {
  readonly block: readonly RewriteRequest[];
  readonly texts: Promise<readonly string[]>;
}

async function* outcomes({ block, texts }: ChangedBlock, signal: AbortSignal): AsyncGenerator<Outcome> {
  const found = await texts;
  await setImmediate(); // texts that are there already would let neither timers nor Ctrl-C in between
  for (const [i, request] of block.entries()) {
    if (signal.aborted) return;
    yield { request, text: found[i]!, finish: "none", tokens: 0, shortened: request.shortened };
  }
}

function swap(tokens: readonly Token[], count: number, random: Random): Token[] {
  const changed = [...tokens];
  for (let i = 0; i < count; i++) {
    const a = random.integer(changed.length);
    const b = (a + 1 + random.integer(changed.length - 1)) % changed.length;
    const [first, second] = a < b ? [a, b] : [b, a];
    const [one, two] = [changed[first]!, changed[second]!];
    // Only the capital of a sentence's beginning stays where it is; a name takes its own along.
    const opens = opensSentence(changed, first) && isCapital(one.core) && !isCapital(two.core);
    changed[first] = { ...one, core: opens ? capital(two.core) : two.core };
    changed[second] = { ...two, core: opens ? withoutCapital(one.core) : one.core };
  }
  return changed;
}

function remove(tokens: readonly Token[], chance: number, random: Random): Token[] {
  const kept = tokens.filter(() => random.uniform() >= chance);
  if (kept.length < fewestWords) return [...tokens];
  const [first, last] = [tokens[0]!, tokens.at(-1)!];
  if (kept[0] !== first && isCapital(first.core)) kept[0] = { ...kept[0]!, core: capital(kept[0]!.core) };
  if (kept.at(-1) !== last) kept.push({ ...kept.pop()!, after: last.after });
  return kept;
}

/** "a" and "an" by the word that follows now, where another one did before. */
function settleArticles(tokens: readonly Token[], original: readonly Token[]): Token[] {
  return tokens.map((token, i) => {
    const next = tokens[i + 1];
    if (!next || !isArticle(token)) return token;
    if (original.some((one, j) => isArticle(one) && one.core.length === token.core.length && original[j + 1]?.core === next.core))
      return token;
    return { ...token, core: isCapital(token.core) ? capital(articleBefore(next.core)) : articleBefore(next.core) };
  });
}

function isArticle({ core }: Token): boolean {
  return core.length < 3 && /^an?$/i.test(core);
}

function opensSentence(tokens: readonly Token[], at: number): boolean {
  return at === 0 || /[.!?]["'”’)]*$/.test(tokens[at - 1]!.after);
}

function isCapital(core: string): boolean {
  return /^\p{Lu}/u.test(core);
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** "Dog" as it stands inside of a sentence; "TV" and "T-shirt" stay as they are. */
function withoutCapital(core: string): string {
  return /^\p{Lu}(?:\p{Ll}|$)/u.test(core) && core !== "I" ? core.slice(0, 1).toLowerCase() + core.slice(1) : core;
}

/** `text` with a capital, or capitals throughout, where the word in whose place it comes had them. */
function likeCase(text: string, like: string): string {
  if (!isCapital(like)) return text;
  return isShouted(like) ? text.toUpperCase() : capital(text);
}

function isShouted(core: string): boolean {
  return core.length > 1 && core === core.toUpperCase() && isCapital(core);
}

function written(tokens: readonly Token[]): string {
  return tokens.map(({ before, core, after }) => before + core + after).join(" ");
}
