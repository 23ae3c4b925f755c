/**
 * A limit on how many things are under way at once; those who wait get their turn in the order in which they asked.
 */
export class InFlight {
  readonly #limit: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  #cancelled = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Does `work` when its turn comes. @throws when the rest was cancelled before */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      if (this.#cancelled) throw new Error("cancelled");
      return await work();
    } finally {
      // The place is handed on without being given up, so that nobody slips in between.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }

  /** What has not begun yet fails; what has begun ends as usual. */
  cancel(): void {
    this.#cancelled = true;
  }
}
