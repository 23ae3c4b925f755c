/**
 * Symmetric InfoNCE over the batch (CLIP; losses.py of LijieFan/LaCLIP).
 *
 * Row i of the images and row i of the texts belong together; every other pair of the batch is a negative. Knows nothing of where
 * captions come from: LaCLIP is this loss fed by another caption choice.
 */
import type { FeatureGroup } from "../nn/index.ts";
import type { Sharpness } from "./adaptive-weights.ts";
import type { ObjectiveNeeds } from "./objective.ts";
import { type LossPart, RowwiseObjective, type SharedFeatures } from "./rowwise-objective.ts";
import { softmaxParts } from "./softmax-parts.ts";

/** CLIP's loss: mean over rows and columns of the cross entropy, with one text for each image. Reports `accuracy`, 0..1. */
export class ClipLoss extends RowwiseObjective {
  readonly name = "clip";
  override readonly needs: ObjectiveNeeds;
  override readonly sharpness: Sharpness;

  /**
   * @param settings maskDuplicates: a text that is the image's caption too, though it is another's, is no negative, default false;
   *   fitSharpness: see `Sharpness`, default none
   */
  constructor(settings: { maskDuplicates?: boolean | undefined; fitSharpness?: number | undefined } = {}, group?: FeatureGroup) {
    super(group);
    const { maskDuplicates = false, fitSharpness } = settings;
    this.sharpness = { fit: fitSharpness };
    this.needs = { oneText: true, textKeys: maskDuplicates };
  }

  protected parts(shared: SharedFeatures, rows: number): Iterable<LossPart> {
    return softmaxParts(shared, rows, { denominator: "slot", maskDuplicates: this.needs.textKeys! });
  }
}
