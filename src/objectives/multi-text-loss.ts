/**
 * Several texts of an image at once (LaCLIP-MT): each is a positive of its image.
 *
 * Sources disagree on what the image is held against; both forms are here, see softmax-parts.ts. With one text each they are CLIP's loss.
 */
import type { FeatureGroup } from "../nn/index.ts";
import type { Sharpness } from "./adaptive-weights.ts";
import type { ObjectiveNeeds } from "./objective.ts";
import { type LossPart, RowwiseObjective, type SharedFeatures } from "./rowwise-objective.ts";
import { type Denominator, softmaxParts } from "./softmax-parts.ts";

/** LaCLIP-MT's loss, for K texts of each image: every one a positive, in the form that `denominator` says. */
export class MultiTextLoss extends RowwiseObjective {
  readonly name = "multi-text";
  override readonly needs: ObjectiveNeeds;
  override readonly sharpness: Sharpness;
  readonly #denominator: Denominator;

  constructor(
    settings: {
      denominator: Denominator;
      maskDuplicates?: boolean | undefined;
      fitSharpness?: number | undefined;
      agreementSharpness?: number | undefined;
    },
    group?: FeatureGroup,
  ) {
    super(group);
    const { denominator, maskDuplicates = false, fitSharpness, agreementSharpness } = settings;
    this.sharpness = { fit: fitSharpness, agreement: agreementSharpness };
    this.needs = { textKeys: maskDuplicates };
    this.#denominator = denominator;
  }

  protected parts(shared: SharedFeatures, rows: number): Iterable<LossPart> {
    return softmaxParts(shared, rows, { denominator: this.#denominator, maskDuplicates: this.needs.textKeys! });
  }
}
