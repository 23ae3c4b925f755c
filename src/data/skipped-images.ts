/**
 * Images that turned out to be unreadable: counted, reported, and too many of them are an error.
 */
import { DataError, log, shortPercent } from "../support/index.ts";

/** An image that could not be read. */
export interface UnreadableImage {
  /** Its number in the data set. */
  row: number;
  /** What was wrong, with the path. */
  reason: string;
}

/** Counts the images of one run that could not be read, each once, and gives up at too many. */
export class SkippedImages {
  readonly #reasons = new Map<number, string>();
  readonly #total: number;
  readonly #maximum: number;

  /** @param total number of images in the data set; @param maximum share of them that may be unreadable, 0..1 */
  constructor(total: number, maximum: number) {
    this.#total = total;
    this.#maximum = maximum;
  }

  /** Number of different images. */
  get count(): number {
    return this.#reasons.size;
  }

  /** Why each of them could not be read, by its number in the data set. */
  get reasons(): ReadonlyMap<number, string> {
    return this.#reasons;
  }

  /** The first few reasons; that of a whole tar once. */
  get examples(): string[] {
    return [...new Set(this.#reasons.values())].slice(0, 5);
  }

  /** @throws DataError when there are more than the allowed share */
  add(images: readonly UnreadableImage[]): void {
    for (const { row, reason } of images) this.#reasons.set(row, reason);
    if (images.length === 0 || this.count <= this.#total * this.#maximum) return;
    throw new DataError(`${this.#summary()}; allowed are ${shortPercent(this.#maximum)}.${this.#list()}`, {
      mend: "Fetch the images again or take their rows out, or allow a larger share (--max-skipped).",
    });
  }

  /** Tells the person, if there is anything to tell. */
  report(instead: string): void {
    if (this.count > 0) log.warn(`${this.#summary()}; ${instead}.${this.#list()}`);
  }

  #summary(): string {
    return `${this.count} of ${this.#total} images can't be read (${shortPercent(this.count / this.#total, 2)})`;
  }

  #list(): string {
    return this.examples.map((reason) => `\n  ${reason}`).join("");
  }
}
