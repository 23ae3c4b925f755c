/**
 * One training step, from pixels and tokens to changed weights.
 *
 * Everything that a step makes dies with its scope. Loss and norms are float32; autocast covers the towers only.
 */
import { type Clip, type Preprocessing, normalizeImages } from "../models/index.ts";
import type { Objective } from "../objectives/index.ts";
import { type AdamW, gradientNorm } from "../optim/index.ts";
import { Tensor, autocast, noGrad, scope } from "../torch/index.ts";

/** The logit scale is kept in [1, 100]: LaCLIP's train.py clamps its logarithm to [0, 4.6052]. */
const highestLogScale = 4.6052;

/** float32 throughout, or matrix products in bfloat16. */
export type Precision = "fp32" | "bf16";

export interface StepInput {
  /** uint8 `[batch, size, size, 3]` */
  images: Uint8Array;
  /** int32 `[batch, tokenLength]`, padded with 0 */
  tokens: Int32Array;
  batchSize: number;
  tokenLength: number;
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
  /** The processes that train on the same batch; default this one alone. */
  ranks?: StepRanks;
}

export interface StepReport {
  loss: number;
  /** Factor on cosine similarities that the loss of this step saw. */
  logitScale: number;
  /** Euclidean norm of all gradients; only when asked for. */
  gradientNorm?: number;
  metrics: Record<string, number>;
}

/** Runs `body` in the given precision; see `autocast`. */
export function inPrecision<T>(precision: Precision, device: string, body: () => T): T {
  return precision === "bf16" ? autocast(device, "bfloat16", body) : body();
}

/**
 * Forward, backward, update. The update is left out when the loss is not finite; the caller decides what then.
 * @param measureGradient also compute the gradient's norm, which costs a pass over all gradients
 */
export function trainStep(context: StepContext, input: StepInput, lr: number, measureGradient = false): StepReport {
  const { model, objective, optimizer, precision, device, ranks } = context;
  return scope(() => {
    const { imageFeatures, textFeatures } = forward(context, input);
    const logitScale = model.logitScale.exp();
    const { loss, metrics } = objective.forward({ imageFeatures, textFeatures, logitScale });
    ranks?.arm();
    loss.backward();
    ranks?.finish();
    const own = [loss, ...Object.values(metrics)].map((value) => value.item());
    // The ranks must agree whether the loss is finite, or some would change their weights and others not.
    const [meanLoss, ...measured] = ranks?.means(own) ?? own;
    const report: StepReport = {
      loss: meanLoss!,
      logitScale: logitScale.item(),
      metrics: Object.fromEntries(Object.keys(metrics).map((name, i) => [name, measured[i]!])),
    };
    if (measureGradient) report.gradientNorm = gradientNorm(model.parameters());
    if (Number.isFinite(report.loss)) {
      optimizer.step(lr);
      noGrad(() => model.logitScale.clamp_(0, highestLogScale));
    }
    model.zeroGrad();
    return report;
  });

  function forward({ preprocessing }: StepContext, { images, tokens, batchSize, tokenLength }: StepInput) {
    const pixels = normalizeImages(images, batchSize, model.config.vision.imageSize, preprocessing, device);
    const ids = Tensor.from(tokens, [batchSize, tokenLength], { device }).to("int64");
    return inPrecision(precision, device, () => ({ imageFeatures: model.encodeImages(pixels), textFeatures: model.encodeTexts(ids) }));
  }
}
