/**
 * Steps that several writers take together.
 *
 * llama.cpp computes the next token of many texts at little more than the price of one, if they come in one batch, and in the order
 * of their sequences: it cuts a batch wherever the next sequence is not the one after the last. Left to themselves, writers fall out
 * of step: whose token is drawn a moment later than the others' finds the next batch under way without it, and soon each steps alone.
 * So a step begins when all who are writing have asked for one. What shares a batch then follows from the requests, and no longer from
 * which thread was faster.
 */

interface Asked {
  readonly writer: number;
  readonly begin: () => void;
}

/** Has all writers take their next step at the same time, in the order of their numbers. */
export class SharedSteps {
  #writing = 0;
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
    await new Promise<void>((resolve) => {
      this.#asked.push({ writer, begin: resolve });
      this.#beginIfAllAsked();
    });
    return await step();
  }

  #beginIfAllAsked(): void {
    if (this.#asked.length === 0 || this.#asked.length < this.#writing) return;
    const asked = this.#asked.sort((a, b) => a.writer - b.writer);
    this.#asked = [];
    // In a turn of its own: within this one, node-llama-cpp goes on with whatever has been asked of it so far.
    setImmediate(() => {
      for (const { begin } of asked) begin();
    });
  }
}
