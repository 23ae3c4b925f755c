/**
 * Steps that several writers take together.
 *
 * llama.cpp computes the next token of many texts at little more than the price of one, if they come in one batch, and in the order
 * of their sequences: it cuts a batch wherever the next sequence is not the one after the last. Left to themselves, writers fall out
 * of step: whose token is drawn a moment later than the others' finds the next batch under way without it, and soon each steps alone.
 * So a step begins when all who are writing have asked for one, and its answers are handed on when all are there. What shares a batch
 * then follows from the requests, and no longer from which thread was faster.
 */

interface Asked {
  readonly writer: number;
  /** Takes the step; what it returns hands the answer, or the failure, to the writer. */
  readonly begin: () => Promise<() => void>;
}

/** Has all writers take their next step at the same time, in the order of their numbers, and go on from it in the same order. */
export class SharedSteps {
  #writing = 0;
  #beginning = false;
  #asked: Asked[] = [];

  /** Runs `work`, whose steps are taken with those of all other works that are under way. */
  async write<T>(work: () => Promise<T>): Promise<T> {
    this.#writing++;
    try {
      return await work();
    } finally {
      this.#writing--;
      this.#beginIfAllAsked();
    }
  }

  /** What `step` gives; it begins when every work has asked for its step or come to its end. Only within `write`. */
  async take<T>(writer: number, step: () => Promise<T>): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      const begin = async (): Promise<() => void> => {
        try {
          const answer = await step();
          return () => resolve(answer);
        } catch (error) {
          return () => reject(error);
        }
      };
      this.#asked.push({ writer, begin });
      this.#beginIfAllAsked();
    });
  }

  #beginIfAllAsked(): void {
    if (!this.#allAsked() || this.#beginning) return;
    this.#beginning = true;
    // In a turn of its own: others may still begin to write in this one, and within it node-llama-cpp goes on with what it was asked so far.
    setImmediate(() => {
      this.#beginning = false;
      if (this.#allAsked()) void this.#begin();
    });
  }

  #allAsked(): boolean {
    return this.#asked.length > 0 && this.#asked.length >= this.#writing;
  }

  async #begin(): Promise<void> {
    const asked = this.#asked.sort((a, b) => a.writer - b.writer);
    this.#asked = [];
    const answers = await Promise.all(asked.map(async ({ begin }) => await begin()));
    for (const hand of answers) hand();
  }
}
