/**
 * Symmetric InfoNCE over the batch (CLIP; losses.py of LijieFan/LaCLIP).
 *
 * Row i of the images and row i of the texts belong together; every other pair of the batch is a negative. Knows nothing of where
 * captions come from: LaCLIP is this loss fed by another caption choice.
 *
 * Shapes: B batch, D joint width.
 */
import { type Tensor, arange, noGrad, ops, scope } from "../torch/index.ts";
import { unitRows } from "../nn/index.ts";
import type { FeaturePair, LossReport, Objective } from "./objective.ts";

/** Share of rows whose largest logit is at the target, 0..1. */
function top1(logits_BB: Tensor, targets_B: Tensor): Tensor {
  return noGrad(() => scope(() => logits_BB.argmax(-1).eq(targets_B).to("float32").mean()));
}

export class ClipLoss implements Objective {
  readonly name = "clip";

  /** @returns `loss` scalar; `accuracy`: top-1 of images against the texts of the batch, 0..1 */
  forward({ imageFeatures, textFeatures, logitScale }: FeaturePair): LossReport {
    return scope(() => {
      const image_BD = unitRows(imageFeatures);
      const text_BD = unitRows(textFeatures);
      const imageLogits_BB = image_BD.matmul(text_BD.t()).mul(logitScale);
      const targets_B = arange(0, image_BD.sizeOf(0), { device: image_BD.device });
      const loss = ops.crossEntropyLoss(imageLogits_BB, targets_B).add(ops.crossEntropyLoss(imageLogits_BB.t(), targets_B)).div(2);
      return { loss, metrics: { accuracy: top1(imageLogits_BB, targets_B) } };
    });
  }
}
