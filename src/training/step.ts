/**
 * One training step, from pixels and tokens to changed weights.
 *
 * Everything that a step makes dies with its scope. Loss and norms are float32; autocast covers the towers only.
 */
import type { ColourLists } from "../images/index.ts";
import type { Clip, Preprocessing } from "../models/index.ts";
import type { FeatureGroup } from "../nn/index.ts";
import type { Objective } from "../objectives/index.ts";
import type { AdamW } from "../optim/index.ts";
import { type Tensor, isOutOfMemory, readNumbers, scope } from "../torch/index.ts";
import { backwardCached } from "./cached-gradients.ts";
import type { LossScaler } from "./loss-scaler.ts";
import { type StepFindings, type StepLimits, findGradients, update } from "./step-findings.ts";
import type { StepGraphs } from "./step-graphs.ts";
import type { StepTensors } from "./step-tensors.ts";
import type { Precision } from "./tower-features.ts";

/** A batch as a step takes it. */
export interface StepInput {
  /** uint8 `[batch, size, size, 3]` */
  images: Uint8Array;
  /** int32 `[batch x textsPerImage, tokenLength]`, padded with 0 */
  tokens: Int32Array;
  batchSize: number;
  tokenLength: number;
  /** Makes the number of tokens a multiple of it, see `raggedLayout`. Default: there are no more than the texts have */
  tokenStep?: number;
  /** Default 1. */
  textsPerImage?: number;
  /** uint8 `[2, batch, size, size, 3]`: two more views of each image, for objectives that compare them */
  views?: Uint8Array;
  /** What is left to do to the colours of these views; then they must be `there`, where it was done. */
  viewColours?: ColourLists;
  /** int32 `[(1 or, with views, 3) x batch, K]`: the patches that the image tower looks at, see `choosePatches`. Default all */
  patches?: Int32Array;
  /** int64 `[batch x textsPerImage]`: equal numbers mean texts that say the same */
  textKeys?: BigInt64Array;
  /** float32 `[batch x textsPerImage]`, 0..1: how much each pair counts */
  textWeights?: Float32Array;
  /** The same on the device, where they were brought there before the step. */
  there?: StepTensors;
}

/** What a step has to do with other processes: every gradient and every number that it reports is a mean over ranks. */
export interface StepRanks {
  /** Called before the backward passes that complete the gradients; each parameter is reached by at most one of them. */
  arm(): void;
  /** Returns when every gradient is the mean over ranks. */
  finish(): void;
  /** `[values]`, float64: the mean of each scalar over ranks. The device need not be waited for. */
  means(values: readonly Tensor[]): Tensor;
}

/** What stays the same from step to step. */
export interface StepContext {
  model: Clip;
  preprocessing: Preprocessing;
  objective: Objective;
  optimizer: AdamW;
  precision: Precision;
  device: string;
  /** Images that pass through the towers of this process at once, see cached-gradients.ts. Default its whole batch. */
  microBatch?: number | undefined;
  /** Those whose views are normalised as one batch; the objective has its own. Default this process alone. */
  group?: FeatureGroup | undefined;
  /** The processes that train on the same batch; default this one alone. */
  ranks?: StepRanks | undefined;
  /** Scales the loss where gradients are taken; float16 needs it. Default none. */
  scaler?: LossScaler | undefined;
  /** Records steps and replays them; then each input is one that its `prepare` has made ready. Default: every step is computed anew */
  graphs?: StepGraphs | undefined;
  /**
   * Called once a step, when the device has the gradients to compute, with a recorded step the update too, and before the step waits for it:
   * what is done here costs no time.
   */
  meanwhile?: (() => void) | undefined;
}

/** What a step has found. */
export interface StepReport {
  loss: number;
  /** Factor on cosine similarities that the loss of this step saw. */
  logitScale: number;
  /** Euclidean norm of all gradients; only when asked for, or scaled. */
  gradientNorm?: number;
  /** Factor of the scaler that this step was made with. */
  lossScale?: number;
  /** True when gradients are not finite for the size of that factor: the next step will have a smaller one. */
  overflow?: boolean;
  metrics: Record<string, number>;
  /** False when the weights were left as they are. */
  updated: boolean;
}

/** Whether a step may change the weights. */
export interface StepJudge {
  /** Known before the step: a recorded one is decided by them on the device. */
  limits: StepLimits;
  /** Called when the device is about to decide and to update by itself: from then on, the step can't be taken again. */
  committed?(): void;
  /** Called once, with what was found: true exactly when loss and norm, as far as it was measured, are finite and within the limits. */
  accept(report: StepReport): boolean;
}

/** How a step is taken. */
export interface StepOptions {
  /** Also compute the gradient's norm, which costs a pass over all gradients. Default false. */
  measureGradient?: boolean;
  /** Whether to change the weights. Default: when loss and, where it is measured, norm are finite. */
  judge?: StepJudge;
}

/** Leaves out what is not finite. */
const finiteOnly: StepJudge = {
  limits: { loss: Infinity, gradientNorm: Infinity },
  accept: ({ loss, gradientNorm = 0 }) => Number.isFinite(loss) && Number.isFinite(gradientNorm),
};

/**
 * Forward, backward, update. The update is left out when `judge` says so; the caller decides what then. The device is waited for once:
 * for all that the decision and the report need.
 */
export function trainStep(
  context: StepContext,
  input: StepInput,
  lr: number,
  { measureGradient = false, judge = finiteOnly }: StepOptions = {},
): StepReport {
  const { model, optimizer, scaler, graphs, microBatch = input.batchSize } = context;
  return scope(() => {
    const whole = microBatch >= input.batchSize;
    const found =
      graphs !== undefined && whole
        ? graphs.find(context, input, { measureGradient, lr, judge })
        : findGradients(context, input, {
            measureGradient,
            backward: whole ? undefined : () => backwardCached(context, input, microBatch),
          });
    const full = !meanwhileFits(context, found);
    const { leftOut, ...numbers } = readStep(context, found);
    if (full) graphs?.giveUp();
    const report: StepReport = { ...numbers, updated: false };
    if (measureGradient || scaler) report.gradientNorm ??= 0;
    if (scaler) {
      report.lossScale = scaler.scale;
      report.overflow = Number.isFinite(report.loss) && !Number.isFinite(report.gradientNorm) && scaler.canShrink;
    }
    report.updated = judge.accept(report);
    scaler?.update(Number.isFinite(report.loss) && Number.isFinite(report.gradientNorm));
    if (leftOut === undefined) {
      if (report.updated) update(context, lr);
    } else {
      if (report.updated === leftOut) throw new Error("internal: the device has decided otherwise whether a step changes the weights");
      if (report.updated) optimizer.countAnnounced();
    }
    model.zeroGrad();
    return report;
  });
}

/**
 * Does what there is to do meanwhile. With a recorded step, whose update is on its way, it need not succeed.
 * @returns false where it found too little memory, and can be done later
 */
function meanwhileFits({ meanwhile }: StepContext, { leftOut }: StepFindings): boolean {
  try {
    meanwhile?.();
    return true;
  } catch (error) {
    if (leftOut === undefined || !isOutOfMemory(error)) throw error;
    return false;
  }
}

/** What a step has found, by one transfer; loss and measures are means over ranks, which have the same of the rest. */
function readStep(
  { ranks }: StepContext,
  { loss, metrics, logScale, logitBias, norm, leftOut }: StepFindings,
): Omit<StepReport, "updated"> & { leftOut?: boolean } {
  const names = Object.keys(metrics);
  const own = [loss, ...Object.values(metrics)];
  const numbers = readNumbers([...(ranks ? [ranks.means(own)] : own), logScale, ...[logitBias, norm, leftOut].flatMap((one) => one ?? [])]);
  const [meanLoss, ...measured] = numbers;
  const [scale, ...more] = numbers.slice(own.length);
  const found = Object.fromEntries(names.map((name, i) => [name, measured[i]!]));
  if (logitBias !== undefined) found["logit_bias"] = more.shift()!;
  return {
    loss: meanLoss!,
    logitScale: Math.exp(scale!),
    metrics: found,
    ...(norm && { gradientNorm: more.shift()! }),
    ...(leftOut && { leftOut: more.shift() !== 0 }),
  };
}
