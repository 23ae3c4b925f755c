/**
 * The beginning that the prompts of a group share, evaluated once and handed on to the sequences that write.
 *
 * A sequence of its own holds it. From one group to the next only what differs is evaluated: groups come sorted, so that mostly an
 * example or two stay. Copying the state of one sequence to another is internal to node-llama-cpp (its own LlamaDecisionContext does
 * it); package.json pins the version, and where the method is missing or does not do it, each sequence keeps what it shares
 * with its own last prompt, which the package supports openly.
 */
import type { LlamaContextSequence, Token } from "node-llama-cpp";
import { log } from "../../support/index.ts";

/** A sequence as node-llama-cpp has it inside. */
type Copying = LlamaContextSequence & {
  _copyStateFromOtherSequence?: (other: LlamaContextSequence, upToTokenIndex: number) => Promise<boolean>;
};

/** Evaluated beginnings of prompts, for sequences of one context. */
export class PromptBeginnings {
  #copies: boolean;
  readonly #underWay = new Set<Promise<void>>();

  /** @param holder a sequence that nothing else uses */
  constructor(private readonly holder: LlamaContextSequence) {
    this.#copies = typeof (holder as Copying)._copyStateFromOtherSequence === "function";
  }

  /**
   * Holds these tokens from now on; calls must not overlap.
   * @param inStep runs an evaluation together with those of others
   */
  async hold(tokens: readonly Token[], inStep: (evaluate: () => Promise<void>) => Promise<void>): Promise<void> {
    if (!this.#copies) return;
    // A turn of the event loop lets those begin who were given a prompt of the last beginning just now.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.allSettled(this.#underWay);
    await this.holder.adaptStateToTokens([...tokens], false);
    const missing = tokens.slice(this.holder.nextTokenIndex);
    if (missing.length > 0) await inStep(async () => await this.holder.evaluateWithoutGeneratingNewTokens(missing));
  }

  /** Brings a sequence to a state that is the longest beginning of a prompt to be had without evaluating, at most all but its last token. */
  async prepare(sequence: LlamaContextSequence, prompt: readonly Token[]): Promise<void> {
    const most = prompt.length - 1;
    // Models with a sliding window or a recurrent state can't go back to a beginning.
    const own = sequence.needsCheckpoints ? 0 : Math.min(most, commonLength(sequence.contextTokens, prompt));
    const held = this.#copies ? Math.min(most, commonLength(this.holder.contextTokens, prompt)) : 0;
    if (held > own && (await this.#copy(sequence, held))) return;
    await sequence.adaptStateToTokens(prompt.slice(0, most), false);
  }

  async #copy(sequence: Copying, length: number): Promise<boolean> {
    const copying = sequence._copyStateFromOtherSequence!(this.holder, length);
    const settled: Promise<void> = copying.then(
      () => void this.#underWay.delete(settled),
      () => void this.#underWay.delete(settled),
    );
    this.#underWay.add(settled);
    if (await copying) return true;
    // What the sequence holds now is uncertain.
    this.#copies = false;
    await sequence.clearHistory();
    log.debug("llama.cpp: the state of a sequence can't be copied for this model; each sequence evaluates its own prompts");
    return false;
  }
}

/** Number of tokens that both lists begin with. */
export function commonLength(one: readonly Token[], other: readonly Token[]): number {
  const most = Math.min(one.length, other.length);
  let length = 0;
  while (length < most && one[length] === other[length]) length++;
  return length;
}
