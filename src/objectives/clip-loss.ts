/**
 * Symmetric InfoNCE over the batch of all ranks (CLIP; losses.py of LijieFan/LaCLIP).
 *
 * Row i of the images and row i of the texts belong together; every other pair of the batch is a negative. Knows nothing of where
 * captions come from: LaCLIP is this loss fed by another caption choice. Each rank compares its own rows with those of all, so that the
 * mean over ranks is the loss of the whole batch.
 *
 * Shapes: B batch of this rank, G of all ranks, D joint width.
 */
import { type Tensor, arange, noGrad, ops, scope } from "../torch/index.ts";
import { unitRows } from "../nn/index.ts";
import { type FeatureGroup, type FeaturePair, type LossReport, type Objective, oneRank } from "./objective.ts";

/** Share of rows whose largest logit is at the target, 0..1. */
function top1(logits_BG: Tensor, targets_B: Tensor): Tensor {
  return noGrad(() => scope(() => logits_BG.argmax(-1).eq(targets_B).to("float32").mean()));
}

export class ClipLoss implements Objective {
  readonly name = "clip";
  readonly #group: FeatureGroup;

  /** @param group whose batches belong together; default this process alone */
  constructor(group: FeatureGroup = oneRank) {
    this.#group = group;
  }

  /** @returns `loss` scalar; `accuracy`: top-1 of images against the texts of all ranks, 0..1 */
  forward({ imageFeatures, textFeatures, logitScale }: FeaturePair): LossReport {
    return scope(() => {
      const image_BD = unitRows(imageFeatures);
      const text_BD = unitRows(textFeatures);
      const { rank, ranks } = this.#group;
      const batch = image_BD.sizeOf(0);
      const imageLogits_BG = image_BD.matmul(this.#group.gather(text_BD).t()).mul(logitScale);
      const textLogits_BG = ranks === 1 ? imageLogits_BG.t() : text_BD.matmul(this.#group.gather(image_BD).t()).mul(logitScale);
      const targets_B = arange(rank * batch, (rank + 1) * batch, { device: image_BD.device });
      const loss = ops.crossEntropyLoss(imageLogits_BG, targets_B).add(ops.crossEntropyLoss(textLogits_BG, targets_B)).div(2);
      return { loss, metrics: { accuracy: top1(imageLogits_BG, targets_B) } };
    });
  }
}
