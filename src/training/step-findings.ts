/**
 * A step up to its decision, and the decision where the device takes it: what a graph records, see step-graphs.ts, and what is computed
 * anew without one. Nothing here waits for the device.
 */
import type { Clip } from "../models/index.ts";
import type { LossReport } from "../objectives/index.ts";
import { type AdamW, gradientNormOf } from "../optim/index.ts";
import { type Tensor, noGrad, ops, scope } from "../torch/index.ts";
import { backwardWhole } from "./cached-gradients.ts";
import type { StepContext, StepInput } from "./step.ts";

/** The logit scale is kept in [1, 100]: LaCLIP's train.py clamps its logarithm to [0, 4.6052]. */
const highestLogScale = 4.6052;

/** What a step has found, all of it scalars that lie on the device. */
export interface StepFindings extends LossReport {
  /** Logarithm of the scale that the loss saw. */
  logScale: Tensor;
  logitBias?: Tensor | undefined;
  /** Euclidean norm of all gradients, where it was asked for and there is one. */
  norm?: Tensor | undefined;
  /** float32, where the device has decided: 0 when it has changed the weights, 1 when not. */
  leftOut?: Tensor;
}

/** The most that a step's loss and gradient norm may be. Where they are not finite, they are too much in any case. */
export interface StepLimits {
  loss: number;
  gradientNorm: number;
}

/** What is asked of a step, beside its gradients. */
export interface FindOptions {
  /** Also compute the norm. A step whose loss is scaled has it always. */
  measureGradient: boolean;
  /** How gradients are computed. Default: the whole batch at once */
  backward?: (() => LossReport) | undefined;
  /** float32 scalar, what gradients are multiplied with in place of the scaler's number. */
  unscale?: Tensor;
}

/** Forward and backward pass, and how large the gradients are. */
export function findGradients(context: StepContext, input: StepInput, { measureGradient, backward, unscale }: FindOptions): StepFindings {
  const { model, scaler } = context;
  const found = backward?.() ?? backwardWhole(context, input);
  scaler?.unscale(model.parameters(), unscale);
  const norm = measureGradient || scaler ? gradientNormOf(model.parameters()) : undefined;
  return { ...found, logScale: model.logitScale, logitBias: model.logitBias, norm };
}

/** The update of a step whose decision the host has taken. */
export function update({ model, optimizer }: { model: Clip; optimizer: AdamW }, lr: number): void {
  optimizer.step(lr);
  noGrad(() => model.logitScale.clamp_(0, highestLogScale));
}

/**
 * Decision and update on the device, for the step that the optimiser has announced.
 * @param limits float64 scalars on the device
 * @returns `leftOut`
 */
export function updateWithin(
  { model, optimizer }: { model: Clip; optimizer: AdamW },
  { loss, norm }: StepFindings,
  limits: Record<keyof StepLimits, Tensor>,
): Tensor {
  return noGrad(() =>
    scope(() => {
      // In float64 a comparison has the result that it has on the host.
      const fits = (value: Tensor, limit: Tensor): Tensor => ops.logicalAnd(ops.isfinite(value), ops.leTensor(value.to("float64"), limit));
      const lossFits = fits(loss, limits.loss);
      const within = norm === undefined ? lossFits : ops.logicalAnd(lossFits, fits(norm, limits.gradientNorm));
      const leftOut = ops.logicalNot(within).to("float32");
      optimizer.updateAnnounced(leftOut);
      const { logitScale } = model;
      logitScale.copy_(ops.whereSelf(within, ops.clamp(logitScale, 0, highestLogScale), logitScale));
      return leftOut;
    }),
  );
}
