/**
 * Training batches, made in a thread of their own while the model trains.
 *
 * Starting at step n gives what a run that began at step 0 gets there: to resume, nothing but the step is needed.
 */
import { invariant, UsageError } from "../support/index.ts";
import { BatchStream } from "./batch-stream.ts";
import { checkCaptionRules } from "./captions.ts";
import { type Batch, type BatchSettings, type CompleteBatchSettings, batchSettings } from "./training-batches.ts";
import { type LoaderSamples, type TrainingSamples, openFeed, trainingSamples } from "./training-samples.ts";

/** A data set, and which steps of a run are to be made of it. */
export interface LoaderOptions extends BatchSettings {
  /** What to train on: opened pairs, with or without rewrites, a table of samples, or tars. */
  samples: LoaderSamples;
  /** First step to make, from 0. Default 0. */
  startStep?: number;
  /** Step to end before. */
  totalSteps: number;
  /** Batches made ahead. Default 3. */
  prefetch?: number;
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number;
}

/** Batches in the order of their steps; `for await` over it, or call `next()`. Close it when done early. */
export interface Loader extends BatchStream<Batch> {
  readonly stepsPerEpoch: number;
}

/**
 * Starts to load batches.
 *
 * @throws DataError when there are fewer samples than one batch takes. While loading: DataError when too many images can't be read
 */
export function openLoader(options: LoaderOptions): Loader {
  const { startStep = 0, totalSteps, prefetch = 3, maximumSkipped = 0.01 } = options;
  invariant(startStep >= 0 && startStep <= totalSteps, `steps ${startStep} to ${totalSteps}`);
  const { samples, count, settings, stepsPerEpoch } = checkLoader(options);
  const job = {
    kind: "training",
    from: startStep,
    to: totalSteps,
    images: count,
    maximumSkipped,
    samples,
    settings,
  } as const;
  return Object.assign(new BatchStream<Batch>(job, prefetch, "others were trained on in their place"), { stepsPerEpoch });
}

/**
 * Checks what can be checked before anything is loaded.
 *
 * @throws UsageError for settings out of range; DataError when there are fewer samples than one batch takes
 */
export function checkLoader(options: LoaderOptions): {
  samples: TrainingSamples;
  /** Samples in all. */
  count: number;
  settings: CompleteBatchSettings;
  stepsPerEpoch: number;
} {
  const { samples: source, startStep: _from, totalSteps: _to, prefetch: _ahead, maximumSkipped: _share, ...given } = options;
  const settings = batchSettings(given);
  checkSettings(settings);
  checkCaptionRules(settings.choose, settings);
  const { samples, count } = trainingSamples(source);
  const { stepsPerEpoch } = openFeed(samples, settings);
  return { samples, count, settings, stepsPerEpoch };
}

function checkSettings({ batchSize, imageSize, scale, contextLength }: CompleteBatchSettings): void {
  const positive = (name: string, value: number): void => {
    if (!Number.isInteger(value) || value < 1) throw new UsageError(`${name} must be a whole number of at least 1, got ${value}.`);
  };
  positive("The batch size", batchSize);
  positive("The image size", imageSize);
  if (!Number.isInteger(contextLength) || contextLength < 2)
    throw new UsageError(`The context length must be at least 2, got ${contextLength}.`);
  if (!(scale[0] > 0 && scale[0] <= scale[1] && scale[1] <= 1)) {
    throw new UsageError(`The crop's scale must be two rising shares of the area, 0 to 1, got ${scale.join(" to ")}.`);
  }
}
