/** The thread of EDA: an answer for each block, in their order. */
import { parentPort, workerData } from "node:worker_threads";
import { invariant, toPosted } from "../../support/index.ts";
import type { EdaAnswer, EdaBlock } from "./eda-thread.ts";
import { EdaEngine } from "./eda.ts";
import type { EdaOptions } from "./eda.ts";

invariant(parentPort, "eda-worker.ts runs in a worker thread");
const port = parentPort;
const engine = new EdaEngine(workerData as EdaOptions);
port.on("message", (block: EdaBlock) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
  port.postMessage(answer(block));
});

function answer({ captions, seeds }: EdaBlock): EdaAnswer {
  try {
    return { texts: captions.map((caption, i) => engine.change(caption, seeds[i]!)) };
  } catch (error) {
    return { failure: toPosted(error) };
  }
}
