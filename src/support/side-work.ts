/**
 * Work that runs beside the loop that finds it, a few pieces at a time.
 */
export class SideWork {
  readonly #limit: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  /** @param limit pieces that may run at once, at least 1 */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Starts a piece and waits until there is room for another.
   * @throws what an earlier piece failed with, when nothing runs any more; `work` is not started then
   */
  async start(work: () => Promise<void>): Promise<void> {
    if (this.#failure) await this.finish();
    const piece = work()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(piece));
    this.#running.add(piece);
    if (this.#running.size >= this.#limit) await Promise.race(this.#running);
  }

  /** Waits until nothing runs any more. @throws what the first piece that failed did so with */
  async finish(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure.error;
  }
}
