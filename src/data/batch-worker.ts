/**
 * The thread that makes batches ahead of those who use them.
 *
 * A training step holds the main thread inside libtorch for its whole length; here decoding, cropping and tokenising go on meanwhile.
 * Batches are made several at once and handed over in order, never more of them than were asked for. Their memory moves, it is not copied.
 */
import { parentPort, workerData } from "node:worker_threads";
import { type PostedError, invariant, toPosted } from "../support/index.ts";
import { ClipTokenizer } from "../text/index.ts";
import { type EvaluationBatch, EvaluationImages, type EvaluationItem, type EvaluationSettings } from "./evaluation-images.ts";
import { SkippedImages, type UnreadableImage } from "./skipped-images.ts";
import { type Batch, type BatchSettings, TrainingBatches } from "./training-batches.ts";
import { type TrainingSamples, openFeed } from "./training-samples.ts";

/** What the thread is to make: batches `from` to `to` (without it) of one of two kinds. */
export type BatchJob = {
  from: number;
  to: number;
  /** Number of images in the data set and the share of them that may be unreadable. */
  images: number;
  maximumSkipped: number;
} & (
  | { kind: "training"; samples: TrainingSamples; settings: BatchSettings }
  | { kind: "evaluation"; items: readonly EvaluationItem[]; settings: EvaluationSettings }
);

/** To the thread: make so many more batches; or stop. */
export type BatchRequest = { kind: "more"; count: number } | { kind: "stop" };

/** From the thread. */
export type BatchAnswer =
  | { kind: "batch"; batch: Batch | EvaluationBatch; unreadable: UnreadableImage[] }
  | { kind: "end" }
  | { kind: "error"; error: PostedError };

interface Made {
  batch: Batch | EvaluationBatch;
  unreadable: UnreadableImage[];
}

invariant(parentPort, "batch-worker.ts runs in a worker thread");
const port = parentPort;
const job = workerData as BatchJob;
const skipped = new SkippedImages(job.images, job.maximumSkipped);
const feed = job.kind === "training" ? openFeed(job.samples, job.settings) : undefined;
const maker =
  job.kind === "training" ? new TrainingBatches(feed!, job.settings, ClipTokenizer.load()) : new EvaluationImages(job.items, job.settings);
/** Batches under way, in order. */
const underWay: Promise<Made>[] = [];
let next = job.from;
let stopped = false;
let delivering = false;

port.on("message", (request: BatchRequest) => {
  if (request.kind === "stop") return stop();
  for (let i = 0; i < request.count && next < job.to; i++) {
    const made: Promise<Made> = maker.make(next++);
    // Seen to when its turn comes; until then a failure must not count as unhandled.
    made.catch(() => undefined);
    underWay.push(made);
  }
  void deliver();
});

async function deliver(): Promise<void> {
  if (delivering) return;
  delivering = true;
  try {
    for (let made = underWay.shift(); made !== undefined; made = underWay.shift()) {
      const { batch, unreadable } = await made;
      if (stopped) return;
      skipped.add(unreadable);
      const buffers = "tokens" in batch ? [batch.images.buffer, batch.tokens.buffer] : [batch.images.buffer];
      if ("views" in batch && batch.views) buffers.push(batch.views.buffer);
      answer({ kind: "batch", batch, unreadable }, buffers as ArrayBuffer[]);
    }
    if (next === job.to && !stopped) {
      answer({ kind: "end" });
      stop();
    }
  } catch (error) {
    if (!stopped) answer({ kind: "error", error: toPosted(error) });
    stop();
  } finally {
    delivering = false;
  }
}

/** With its port closed the thread ends by itself once the few images that are being decoded are done. */
function stop(): void {
  stopped = true;
  maker.cancel();
  void feed?.close();
  port.close();
}

function answer(message: BatchAnswer, buffers: ArrayBuffer[] = []): void {
  port.postMessage(message, buffers);
}
