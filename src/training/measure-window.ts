/** Means of measures over the steps since they were last taken. */
export class MeasureWindow {
  readonly #sums = new Map<string, { sum: number; count: number }>();

  /** Adds values of one step; a measure that a step lacks does not count there. */
  add(measures: Record<string, number>): void {
    for (const [name, value] of Object.entries(measures)) {
      const entry = this.#sums.get(name) ?? { sum: 0, count: 0 };
      this.#sums.set(name, { sum: entry.sum + value, count: entry.count + 1 });
    }
  }

  /** The means by name; begins anew. */
  take(): Record<string, number> {
    const means = Object.fromEntries([...this.#sums].map(([name, { sum, count }]) => [name, sum / count]));
    this.#sums.clear();
    return means;
  }
}
