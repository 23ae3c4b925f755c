/** The thread that writes checkpoints while the model trains: one job after another, an answer for each. */
import { parentPort } from "node:worker_threads";
import { type PostedError, invariant, toPosted } from "../support/index.ts";
import { type CheckpointJob, writeCheckpoint } from "./checkpoint-files.ts";

/** From the thread, for each job. */
export type CheckpointAnswer = { written: true } | { written: false; error: PostedError };

invariant(parentPort, "checkpoint-worker.ts runs in a worker thread");
const port = parentPort;
port.on("message", (job: CheckpointJob) => {
  void writeCheckpoint(job).then(
    () => answer({ written: true }),
    (error: unknown) => answer({ written: false, error: toPosted(error) }),
  );
});

function answer(message: CheckpointAnswer): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
  port.postMessage(message);
}
