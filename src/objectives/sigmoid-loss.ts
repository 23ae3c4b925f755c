/**
 * Each pair of an image and a text is a question of its own: do they belong together? (SigLIP, Zhai et al. 2023)
 *
 * With several texts of an image each of them is a yes (the multi-positive sigmoid of FLAIR, Xiao et al. 2025). The sum over all pairs is
 * divided by the texts, so that one text each gives SigLIP's loss. Weights change the yeses only: a text that fits its own image badly is as
 * good a no to other images as any.
 *
 * Shapes: R rows of a block, T texts of all ranks, K texts of an image.
 */
import type { FeatureGroup } from "../nn/index.ts";
import { noGrad, ops, scope, arange } from "../torch/index.ts";
import type { LossReport, ObjectiveNeeds } from "./objective.ts";
import { type LossPart, RowwiseObjective, type SharedFeatures, blocks } from "./rowwise-objective.ts";
import { duplicateTexts, ofOwnTexts, ownPlaces } from "./softmax-parts.ts";

/** SigLIP's loss: a yes or no for each pair of image and text, for one or several texts of each image. Needs `logitBias`. */
export class SigmoidLoss extends RowwiseObjective {
  readonly name = "sigmoid";
  override readonly needs: ObjectiveNeeds;

  /** @param maskDuplicates a text that is the image's caption too, though it is another's, is no question. Default false */
  constructor({ maskDuplicates = false }: { maskDuplicates?: boolean | undefined } = {}, group?: FeatureGroup) {
    super(group);
    this.needs = { logitBias: true, textKeys: maskDuplicates };
  }

  protected *parts(shared: SharedFeatures, rows: number): Iterable<LossPart> {
    for (const [from, to] of blocks(shared.batch, rows)) yield () => this.#rows(shared, from, to);
  }

  #rows(shared: SharedFeatures, from: number, to: number): LossReport {
    return scope(() => {
      const { batch, texts, texts_GKD } = shared;
      const texts_TD = texts_GKD.flatten(0, 1);
      const logits_RT = shared.images_BD.slice(0, from, to).matmul(texts_TD.t()).mul(shared.logitScale).add(shared.logitBias!);
      const places_R1 = ownPlaces(shared, from, to).unsqueeze(1);
      const signs_RT = noGrad(() => {
        const owners_T = ops.floorDivideScalar(arange(0, texts_TD.sizeOf(0), { device: texts_TD.device }), texts);
        return owners_T.eq(places_R1).to("float32").mul(2).sub(1);
      });
      let losses_RT = ops.logSigmoid(logits_RT.mul(signs_RT)).neg();
      if (this.needs.textKeys) {
        const masked_RT = noGrad(() => duplicateTexts(shared, from, to));
        losses_RT = ops.maskedFillScalar(losses_RT, masked_RT, 0);
      }
      let total = losses_RT.sum();
      if (shared.pairWeights_BK) {
        const yes_RK = ofOwnTexts(losses_RT, shared, from, to);
        total = total.add(yes_RK.mul(shared.pairWeights_BK.slice(0, from, to).sub(1)).sum());
      }
      const loss = total.div(batch * texts);
      const accuracy = noGrad(() => ops.floorDivideScalar(logits_RT.argmax(-1, true), texts).eq(places_R1).sum().div(batch));
      return { loss, metrics: { accuracy, contrastive_loss: loss.detach() } };
    });
  }
}
