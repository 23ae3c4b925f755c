/**
 * EDA: noise on the words of a caption, the paper's baseline without a language model ("Easy Data Augmentation", Wei and Zou 2019).
 *
 * One of its four operations is drawn for each caption: replace words by WordNet synonyms, insert synonyms of its words, swap
 * words, delete words. Unlike the authors' code it leaves case and punctuation alone; captions of people's names suffer otherwise.
 */
import { Random } from "../../support/index.ts";
import { ungrouped } from "../engine.ts";
import type { EngineDescription, Outcome, RewriteEngine, RewriteGroup } from "../engine.ts";
import { stopWords } from "../stop-words.ts";
import { WordNet } from "./wordnet.ts";

/** How much noise is made. */
export interface EdaOptions {
  /** Share of words that synonym replacement, insertion and swap touch, at least one. Default 0.1. */
  alpha?: number;
  /** Chance of each word to be deleted. Default 0.1. */
  deletion?: number;
}

type Operation = "replace" | "insert" | "swap" | "delete";

/** Rewrites by EDA: no language model, no examples, the same text for the same seed. */
export class EdaEngine implements RewriteEngine {
  readonly name = "eda";
  readonly usesExamples = false;
  readonly #alpha: number;
  readonly #deletion: number;
  #wordnet: WordNet | undefined;

  constructor({ alpha = 0.1, deletion = 0.1 }: EdaOptions = {}) {
    this.#alpha = alpha;
    this.#deletion = deletion;
  }

  async describe(): Promise<EngineDescription> {
    this.#wordnet ??= new WordNet();
    return { model: "EDA with WordNet 3.1", modelHash: "", sampling: { alpha: this.#alpha, deletion: this.#deletion } };
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncGenerator<Outcome> {
    for await (const request of ungrouped(groups)) {
      if (signal.aborted) return;
      yield { request, text: this.change(request.caption, request.seed), finish: "none", tokens: 0, shortened: request.shortened };
    }
  }

  async close(): Promise<void> {}

  /**
   * A caption with noise on its words.
   * @param caption one line
   * @param seed decides the operation and the words; the same seed gives the same text
   */
  change(caption: string, seed: number): string {
    const random = Random.of("eda", seed);
    const words = caption.split(" ").filter((word) => word !== "");
    if (words.length < 2) return caption;
    const count = Math.max(1, Math.floor(this.#alpha * words.length));
    // An operation may find nothing to do (no synonyms, a swap of equal words): then the next one is tried.
    for (const operation of random.sample<Operation>(["replace", "insert", "swap", "delete"], 4)) {
      const changed = this.#apply(operation, words, count, random).join(" ");
      if (changed !== words.join(" ")) return changed;
    }
    return words.join(" ");
  }

  #apply(operation: Operation, words: readonly string[], count: number, random: Random): string[] {
    if (operation === "replace") return this.#replace(words, count, random);
    if (operation === "insert") return this.#insert(words, count, random);
    if (operation === "swap") return swap(words, count, random);
    const kept = words.filter(() => random.uniform() >= this.#deletion);
    return kept.length > 0 ? kept : [random.choice(words)];
  }

  #replace(words: readonly string[], count: number, random: Random): string[] {
    const changed = [...words];
    let left = count;
    const cores = [...new Set(words.map((word) => split(word).core.toLowerCase()))];
    for (const core of random.sample(cores, cores.length)) {
      const synonyms = this.#synonyms(core);
      if (synonyms.length === 0) continue;
      const synonym = random.choice(synonyms);
      // As in the authors' code, every occurrence of the word is replaced.
      for (const [i, word] of changed.entries()) {
        const parts = split(word);
        if (parts.core.toLowerCase() === core) changed[i] = parts.before + matchCase(synonym, parts.core) + parts.after;
      }
      if (--left === 0) break;
    }
    return changed;
  }

  #insert(words: readonly string[], count: number, random: Random): string[] {
    const changed = [...words];
    for (let i = 0; i < count; i++) {
      for (let tries = 0; tries < 10; tries++) {
        const synonyms = this.#synonyms(split(random.choice(changed)).core.toLowerCase());
        if (synonyms.length === 0) continue;
        changed.splice(random.integer(changed.length + 1), 0, synonyms[0]!);
        break;
      }
    }
    return changed;
  }

  #synonyms(core: string): readonly string[] {
    if (stopWords.has(core) || !/^[a-z]{2,}$/.test(core)) return [];
    this.#wordnet ??= new WordNet();
    return this.#wordnet.synonyms(core);
  }
}

function swap(words: readonly string[], count: number, random: Random): string[] {
  const changed = [...words];
  for (let i = 0; i < count; i++) {
    const a = random.integer(changed.length);
    const b = (a + 1 + random.integer(changed.length - 1)) % changed.length;
    [changed[a], changed[b]] = [changed[b]!, changed[a]!];
  }
  return changed;
}

/** A word without the punctuation at its ends. */
function split(word: string): { before: string; core: string; after: string } {
  const [, before = "", core = "", after = ""] = /^([^\p{L}\p{N}<]*)(.*?)([^\p{L}\p{N}>]*)$/u.exec(word) ?? [];
  return { before, core, after };
}

/** `synonym` with a capital where the replaced word had one. */
function matchCase(synonym: string, like: string): string {
  return /^\p{Lu}/u.test(like) ? synonym[0]!.toUpperCase() + synonym.slice(1) : synonym;
}
