/**
 * Hands the measures of a run to tracking servers without ever waiting for them.
 *
 * A thread gathers points and sends them every few seconds. While a server is away they are kept, up to a limit; the run neither stops
 * nor slows down for it, and `events.jsonl` has everything in any case.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { log } from "../support/index.ts";
import type { RunEvent } from "./run-folder.ts";
import type { RunEnd, TrackedPoint, TrackerTarget } from "./tracker.ts";

/** Where measures are sent, and how often. */
export interface ReporterOptions {
  target: TrackerTarget;
  /** Seconds between two sendings, and before the first new try when a server is away. Default 5. */
  everySeconds?: number;
  /** Points that are kept while the server is away; then the oldest are dropped. Default 10,000. */
  kept?: number;
}

/** To the thread. */
export type ReporterRequest = { kind: "point"; point: TrackedPoint } | { kind: "end"; how: RunEnd };

/** Seconds that the end of a run waits for the last points to be sent. */
const lastWait = 15;

/** Sends the measures of a run to one tracking server, on a thread of its own. */
export class Reporter {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;

  constructor({ target, everySeconds = 5, kept = 10_000 }: ReporterOptions) {
    this.#worker = new Worker(new URL("./reporter-worker.js", import.meta.url), {
      workerData: { target, everySeconds, kept } satisfies Required<ReporterOptions>,
      execArgv: [],
    });
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    // A defect there must not take the run with it.
    this.#worker.on("error", (error) => log.warn(`Reporting to ${target.kind} has ended: ${error.message}`));
    this.#worker.unref();
  }

  /** Takes the numbers of measurements and evaluations; other events are not for curves. */
  add({ time, event, step, ...rest }: RunEvent): void {
    if (event !== "train" && event !== "evaluation") return;
    const measures = Object.fromEntries(
      Object.entries(rest).filter((entry): entry is [string, number] => typeof entry[1] === "number" && Number.isFinite(entry[1])),
    );
    this.#ask({ kind: "point", point: { step, time: Date.parse(time), measures } });
  }

  /** Sends what is left, says how the run ended, and gives up after some seconds. */
  async close(how: RunEnd): Promise<void> {
    this.#ask({ kind: "end", how });
    this.#worker.ref();
    await Promise.race([this.#exited, sleep(lastWait * 1000, undefined, { ref: false })]);
    await this.#worker.terminate();
  }

  #ask(request: ReporterRequest): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
    this.#worker.postMessage(request);
  }
}
