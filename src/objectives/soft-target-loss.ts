/**
 * Targets that are not all or nothing (in the manner of SoftCLIP, Gao et al. 2024).
 *
 * The target of a row is its own pair, and to a share what is like it: an image's target over texts follows how like their images are to
 * it, a text's target over images how like their texts are. No gradient passes through targets. Several texts of an image are taken
 * slot by slot.
 */
import type { FeatureGroup } from "../nn/index.ts";
import { type LossPart, RowwiseObjective, type SharedFeatures } from "./rowwise-objective.ts";
import { softmaxParts } from "./softmax-parts.ts";

/** CLIP's loss with targets that give a share to what is like the own pair. */
export class SoftTargetLoss extends RowwiseObjective {
  readonly name = "soft-targets";
  readonly #soft: { share: number; temperature: number };

  /** @param soft share of the soft part in a target, 0..1; temperature of the similarities that it follows, above 0 */
  constructor(soft: { share: number; temperature: number }, group?: FeatureGroup) {
    super(group);
    this.#soft = soft;
  }

  protected parts(shared: SharedFeatures, rows: number): Iterable<LossPart> {
    return softmaxParts(shared, rows, { denominator: "slot", maskDuplicates: false, soft: this.#soft });
  }
}
