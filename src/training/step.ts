/**
 * One training step, from pixels and tokens to changed weights.
 *
 * Everything that a step makes dies with its scope. Loss and norms are float32; autocast covers the towers only.
 */
import type { ColourLists } from "../images/index.ts";
import type { Clip, Preprocessing } from "../models/index.ts";
import type { FeatureGroup } from "../nn/index.ts";
import type { LossReport, Objective } from "../objectives/index.ts";
import { type AdamW, gradientNormOf } from "../optim/index.ts";
import { type Tensor, noGrad, readNumbers, scope } from "../torch/index.ts";
import { backwardCached, backwardWhole } from "./cached-gradients.ts";
import type { LossScaler } from "./loss-scaler.ts";
import type { StepGraphs } from "./step-graphs.ts";
import type { StepTensors } from "./step-tensors.ts";
import type { Precision } from "./tower-features.ts";

/** The logit scale is kept in [1, 100]: LaCLIP's train.py clamps its logarithm to [0, 4.6052]. */
const highestLogScale = 4.6052;

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
  /** Called before the backward pass that completes the gradients. */
  arm(): void;
  /** Returns when every gradient is the mean over ranks. */
  finish(): void;
  means(values: readonly number[]): number[];
}

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
  /** Called once a step, when the device has the gradients to compute and before the step waits for it: what is done here costs no time. */
  meanwhile?: (() => void) | undefined;
}

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

/**
 * Forward, backward, update. The update is left out when `accept` says so; the caller decides what then. The device is waited for once:
 * for all that the decision and the report need.
 * @param measureGradient also compute the gradient's norm, which costs a pass over all gradients
 * @param accept whether to change the weights. Default: when the loss is finite and gradients don't overflow
 */
export function trainStep(
  context: StepContext,
  input: StepInput,
  lr: number,
  measureGradient = false,
  accept: (report: StepReport) => boolean = ({ loss, overflow = false }) => Number.isFinite(loss) && !overflow,
): StepReport {
  const { model, optimizer, scaler, microBatch = input.batchSize } = context;
  return scope(() => {
    const measured =
      microBatch < input.batchSize
        ? backwardCached(context, input, microBatch)
        : (context.graphs?.backward(context, input) ?? backwardWhole(context, input));
    scaler?.unscale(model.parameters());
    const norm = measureGradient || scaler ? gradientNormOf(model.parameters()) : undefined;
    context.meanwhile?.();
    const report: StepReport = { ...readStep(context, measured, norm), updated: false };
    if (measureGradient || scaler) report.gradientNorm ??= 0;
    if (scaler) {
      report.lossScale = scaler.scale;
      report.overflow = Number.isFinite(report.loss) && !Number.isFinite(report.gradientNorm) && scaler.canShrink;
    }
    report.updated = accept(report);
    scaler?.update(Number.isFinite(report.loss) && Number.isFinite(report.gradientNorm));
    if (report.updated) {
      optimizer.step(lr);
      noGrad(() => model.logitScale.clamp_(0, highestLogScale));
    }
    model.zeroGrad();
    return report;
  });
}

/** What a step has found, by one transfer; loss and measures are means over ranks, which have the same of the rest. */
function readStep(
  { model: { logitScale, logitBias }, ranks }: StepContext,
  { loss, metrics }: LossReport,
  norm: Tensor | undefined,
): Omit<StepReport, "updated"> {
  const names = Object.keys(metrics);
  const all = [loss, ...Object.values(metrics), logitScale, ...[logitBias, norm].flatMap((value) => value ?? [])];
  const numbers = readNumbers(all);
  const own = numbers.slice(0, names.length + 1);
  const [meanLoss, ...measured] = ranks?.means(own) ?? own;
  const [logScale, ...more] = numbers.slice(names.length + 1);
  const found = Object.fromEntries(names.map((name, i) => [name, measured[i]!]));
  if (logitBias !== undefined) found["logit_bias"] = more.shift()!;
  const [gradientNorm] = more;
  return { loss: meanLoss!, logitScale: Math.exp(logScale!), metrics: found, ...(gradientNorm === undefined ? {} : { gradientNorm }) };
}
