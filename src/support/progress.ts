/**
 * Progress of long work: a bar with rate and time left on a terminal, a plain line every few seconds elsewhere.
 */
import { formatDuration } from "./amounts.ts";
import { log } from "./log.ts";

/** What a `Progress` counts, and how it is shown. */
export interface ProgressOptions {
  /** What is being done: "rewrite", "train". */
  label: string;
  /** Number of units in all. */
  total: number;
  /** Name of a unit in the plural: "captions", "steps". */
  unit: string;
  /** Units already done by an earlier start; they do not count towards the rate. */
  start?: number;
  /** Seconds between plain lines where standard error is no terminal. Default 10. */
  everySeconds?: number;
}

/** Shows on standard error how far a work of many units is. */
export class Progress {
  readonly #options: Required<ProgressOptions>;
  readonly #started = performance.now();
  readonly #terminal = process.stderr.isTTY === true;
  #done: number;
  #shown = 0;

  constructor(options: ProgressOptions) {
    this.#options = { start: 0, everySeconds: 10, ...options };
    this.#done = this.#options.start;
  }

  /** Counts units that were done elsewhere, or never will be; they do not count towards the rate. */
  skip(units: number): void {
    this.#done += units;
    this.#options.start += units;
  }

  /** Counts units as done. `detail` is a short text shown at the end of the line ("loss 3.21"). */
  advance(units = 1, detail = ""): void {
    this.#done += units;
    const now = performance.now();
    const pause = this.#terminal ? 100 : this.#options.everySeconds * 1000;
    if (now - this.#shown < pause && this.#done < this.#options.total) return;
    if (this.#shown === 0 && !this.#terminal && now - this.#started < pause && this.#done < this.#options.total) return;
    this.#shown = now;
    this.#show(detail);
  }

  /** Ends the line, so that what follows starts on a new one. */
  finish(): void {
    if (this.#terminal) log.endStatus();
  }

  /** The line as it would be shown now. */
  line(detail = ""): string {
    const { label, total, unit, start } = this.#options;
    const seconds = (performance.now() - this.#started) / 1000;
    const rate = (this.#done - start) / Math.max(seconds, 1e-9);
    const left = rate > 0 ? formatDuration((total - this.#done) / rate) : "?";
    const share = total > 0 ? Math.min(1, this.#done / total) : 1;
    const bar = "#".repeat(Math.round(share * 20)).padEnd(20, ".");
    const numbers = `${this.#done}/${total} ${unit}, ${rate >= 10 ? rate.toFixed(0) : rate.toFixed(2)}/s, ${left} left`;
    return `${label} [${bar}] ${numbers}${detail ? `, ${detail}` : ""}`;
  }

  #show(detail: string): void {
    if (this.#terminal) log.status(this.line(detail));
    else log.info(this.line(detail));
  }
}
