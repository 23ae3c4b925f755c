/** EDA in a thread of its own: captions and seeds go in, texts come out, block after block. */
import { Worker } from "node:worker_threads";
import { type PostedError, fromPosted } from "../../support/index.ts";
import type { EdaOptions } from "./eda.ts";

/** To the thread. */
export interface EdaBlock {
  captions: readonly string[];
  /** One for each caption. */
  seeds: Uint32Array<ArrayBuffer>;
}

/** From the thread, in the order of the blocks: the texts, or why there are none. */
export type EdaAnswer = { texts: readonly string[] } | { failure: PostedError };

interface Waiting {
  resolve: (texts: readonly string[]) => void;
  reject: (error: Error) => void;
}

export class EdaThread {
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  /** Why there are no answers any more. */
  #ended: Error | undefined;

  constructor(options: EdaOptions) {
    this.#worker = new Worker(new URL("./eda-worker.js", import.meta.url), { workerData: options, execArgv: [] });
    this.#worker.unref();
    this.#worker.on("message", (answer: EdaAnswer) => {
      const { resolve, reject } = this.#waiting.shift()!;
      if (this.#waiting.length === 0) this.#worker.unref();
      if ("texts" in answer) resolve(answer.texts);
      else reject(fromPosted(answer.failure));
    });
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.on("exit", (code) => this.#fail(new Error(`internal: the thread of EDA ended with code ${code}`)));
  }

  /** @throws Error when the thread has failed or was closed */
  async change(captions: readonly string[], seeds: Uint32Array<ArrayBuffer>): Promise<readonly string[]> {
    if (this.#ended !== undefined) throw this.#ended;
    return await new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.ref();
      const block: EdaBlock = { captions, seeds };
      this.#worker.postMessage(block, [seeds.buffer]);
    });
  }

  /** Ends the thread; what it has not answered yet fails. */
  async close(): Promise<void> {
    // The last answer on its way would let go of the thread, and the process would end before this promise does.
    this.#worker.removeAllListeners("message");
    await this.#worker.terminate();
  }

  #fail(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
