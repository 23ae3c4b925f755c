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

export interface StepContext {
  model: Clip;
  preprocessing: Preprocessing;
  objective: Objective;
  optimizer: AdamW;
  precision: Precision;
  device: string;
}

export interface StepReport {
  loss: number;
  /** Factor on cosine similarities that the loss of this step saw. */
  logitScale: number;
  /** Euclidean norm of all gradients; only when asked for. */
  gradientNorm?: number;
  metrics: Record<string, number>;
  /** False when the weights were left as they are. */
  updated: boolean;
}

/** Runs `body` in the given precision; see `autocast`. */
export function inPrecision<T>(precision: Precision, device: string, body: () => T): T {
  return precision === "bf16" ? autocast(device, "bfloat16", body) : body();
}

/**
 * Forward, backward, update. The update is left out when `accept` says so; the caller decides what then.
 * @param measureGradient also compute the gradient's norm, which costs a pass over all gradients
 * @param accept whether to change the weights. Default: when the loss is finite
 */
export function trainStep(
  context: StepContext,
  input: StepInput,
  lr: number,
  measureGradient = false,
  accept: (report: StepReport) => boolean = ({ loss }) => Number.isFinite(loss),
): StepReport {
  const { model, objective, optimizer, precision, device } = context;
  return scope(() => {
    const { imageFeatures, textFeatures } = forward(context, input);
    const logitScale = model.logitScale.exp();
    const { loss, metrics } = objective.forward({ imageFeatures, textFeatures, logitScale });
    loss.backward();
    const report: StepReport = {
      loss: loss.item(),
      logitScale: logitScale.item(),
      metrics: Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, value.item()])),
      updated: false,
    };
    if (measureGradient) report.gradientNorm = gradientNorm(model.parameters());
    report.updated = accept(report);
    if (report.updated) {
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
