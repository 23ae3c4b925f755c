/**
 * CLIP's loss and SimCLR's (SLIP, Mu et al. 2022; facebookresearch/SLIP). With LaCLIP's choice of captions it is LaSLIP.
 *
 * SimCLR: a view of an image must find the other view of the same image among both views of all images but itself.
 *
 * Shapes: B own images, R rows of a block, G images of all ranks, E width of the views' features.
 */
import type { FeatureGroup } from "../nn/index.ts";
import { type Tensor, arange, cat, noGrad, ops, scope } from "../torch/index.ts";
import type { LossReport, ObjectiveNeeds } from "./objective.ts";
import { type LossPart, RowwiseObjective, type SharedFeatures, blocks } from "./rowwise-objective.ts";
import { type Denominator, ownPlaces, softmaxParts } from "./softmax-parts.ts";

/** How SimCLR's loss enters SLIP's. */
export interface SlipSettings {
  /** Factor on SimCLR's loss. */
  scale: number;
  /** Temperature of SimCLR's loss. */
  temperature: number;
  /** With several texts an image. Default "slot". */
  denominator?: Denominator | undefined;
  /** See `ClipLoss`. Default false. */
  maskDuplicates?: boolean | undefined;
}

/** CLIP's loss plus SimCLR's on two views of each image. Needs `viewFeatures`. */
export class SlipLoss extends RowwiseObjective {
  readonly name = "slip";
  override readonly needs: ObjectiveNeeds;
  readonly #settings: SlipSettings;

  constructor(settings: SlipSettings, group?: FeatureGroup) {
    super(group);
    this.needs = { views: true, textKeys: settings.maskDuplicates ?? false };
    this.#settings = settings;
  }

  protected *parts(shared: SharedFeatures, rows: number): Iterable<LossPart> {
    const { denominator = "slot", maskDuplicates = false } = this.#settings;
    yield* softmaxParts(shared, rows, { denominator, maskDuplicates });
    for (const [from, to] of blocks(shared.batch, rows)) {
      yield () => this.#views(shared, from, to, "first");
      yield () => this.#views(shared, from, to, "second");
    }
  }

  #views(shared: SharedFeatures, from: number, to: number, which: "first" | "second"): LossReport {
    return scope(() => {
      const { scale, temperature } = this.#settings;
      const other = which === "first" ? "second" : "first";
      const own_RE = shared[`${which}Views_BE`]!.slice(0, from, to);
      const against = (views_GE: Tensor): Tensor => own_RE.matmul(views_GE.t()).div(temperature);
      const targets_R = ownPlaces(shared, from, to);
      const same_RG = against(shared[`${which}Views_GE`]!);
      const itself_RG = targets_R.unsqueeze(1).eq(arange(0, same_RG.sizeOf(1), { device: same_RG.device }));
      const logits_R2G = cat([against(shared[`${other}Views_GE`]!), ops.maskedFillScalar(same_RG, itself_RG, -Infinity)], 1);
      const loss = ops.crossEntropyLoss(logits_R2G, targets_R, null, 2).div(2 * shared.batch);
      const right = noGrad(() =>
        logits_R2G
          .argmax(-1)
          .eq(targets_R)
          .sum()
          .div(2 * shared.batch),
      );
      return { loss: loss.mul(scale), metrics: { ssl_loss: loss.detach(), ssl_accuracy: right } };
    });
  }
}
