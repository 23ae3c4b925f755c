/**
 * The rows of contrastive losses with a softmax: an image among texts, a text among images.
 *
 * Where an image has K texts there are two readings of the image's side. "slot": text k of an image is held against text k of the others,
 * K ordinary losses whose mean is taken (LaCLIP-MT as its paper states it). "joint": one softmax over all texts of all images, whose
 * target is the same for each text of the image (StableRep, Tian et al. 2023). The texts' side is the same in both.
 *
 * Shapes: B own images, R rows of a block, G images of all ranks, K texts of each, D joint width.
 */
import { type Tensor, arange, noGrad, ops, scope } from "../torch/index.ts";
import { type LossPart, type SharedFeatures, blocks } from "./rowwise-objective.ts";
import type { LossReport } from "./objective.ts";

/** What an image is held against where it has several texts: those of one slot, or all of them at once. */
export type Denominator = "slot" | "joint";

export interface SoftmaxRules {
  denominator: Denominator;
  /** Leave pairs of an image with a text that is its own caption word for word, but another's, out of the denominators. */
  maskDuplicates: boolean;
  /** Targets that see other images and texts too: their share, and the temperature of the similarities they follow. */
  soft?: { share: number; temperature: number };
}

/** Both sides of the loss, half of it each. */
export function* softmaxParts(shared: SharedFeatures, rows: number, rules: SoftmaxRules): Generator<LossPart> {
  const { batch, texts } = shared;
  for (const [from, to] of blocks(batch, rows)) {
    if (rules.denominator === "joint") yield () => jointRows(shared, from, to, rules);
    for (let slot = 0; slot < texts; slot++) {
      if (rules.denominator === "slot") yield () => slotRows(shared, from, to, slot, "image", rules);
      yield () => slotRows(shared, from, to, slot, "text", rules);
    }
  }
}

/** Images against the texts of one slot, or the texts of one slot against images. */
function slotRows(
  shared: SharedFeatures,
  from: number,
  to: number,
  slot: number,
  side: "image" | "text",
  { maskDuplicates, soft }: SoftmaxRules,
): LossReport {
  return scope(() => {
    const texts_BD = shared.texts_BKD.select(1, slot);
    const texts_GD = shared.texts_GKD.select(1, slot);
    const [own_BD, like_GD, other_GD] =
      side === "image" ? [shared.images_BD, shared.images_GD, texts_GD] : [texts_BD, texts_GD, shared.images_GD];
    const own_RD = own_BD.slice(0, from, to);
    const targets_R = ownPlaces(shared, from, to);
    const logits_RG = withoutDuplicates(own_RD.matmul(other_GD.t()).mul(shared.logitScale), () =>
      maskDuplicates ? duplicates(shared, from, to, slot, side) : undefined,
    );
    let losses_R = ops.crossEntropyLoss(logits_RG, targets_R, null, 0);
    if (soft) {
      // What the targets follow is a fact to this loss, not something to be learned by it.
      const targets_RG = noGrad(() => own_RD.matmul(like_GD.t()).div(soft.temperature).softmax(-1));
      const softLosses_R = targets_RG.mul(logits_RG.logSoftmax(-1)).sum(-1).neg();
      losses_R = losses_R.mul(1 - soft.share).add(softLosses_R.mul(soft.share));
    }
    const weights_R = shared.pairWeights_BK?.select(1, slot).slice(0, from, to);
    const pairs = shared.batch * shared.texts;
    const right = noGrad(() => logits_RG.argmax(-1).eq(targets_R).sum().div(pairs));
    return report(weighted(losses_R, weights_R).div(2 * pairs), side, right);
  });
}

/** Images against all texts of all images. */
function jointRows(shared: SharedFeatures, from: number, to: number, { maskDuplicates }: SoftmaxRules): LossReport {
  return scope(() => {
    const { batch, texts, texts_GKD } = shared;
    const places_R1 = ownPlaces(shared, from, to).unsqueeze(1);
    const logits_RT = withoutDuplicates(
      shared.images_BD.slice(0, from, to).matmul(texts_GKD.flatten(0, 1).t()).mul(shared.logitScale),
      () => (maskDuplicates ? duplicateTexts(shared, from, to) : undefined),
    );
    const losses_RK = ofOwnTexts(logits_RT.logSoftmax(-1), shared, from, to).neg();
    const right = noGrad(() => ops.floorDivideScalar(logits_RT.argmax(-1, true), texts).eq(places_R1).sum().div(batch));
    return report(weighted(losses_RK, shared.pairWeights_BK?.slice(0, from, to)).div(2 * batch * texts), "image", right);
  });
}

function report(loss: Tensor, side: "image" | "text", right: Tensor): LossReport {
  return { loss, metrics: { [side === "image" ? "accuracy" : "text_accuracy"]: right, contrastive_loss: loss.detach() } };
}

/** Places of own images among those of all ranks, int64 `[R]`. */
export function ownPlaces({ first, images_BD }: SharedFeatures, from: number, to: number): Tensor {
  return arange(first + from, first + to, { device: images_BD.device });
}

/**
 * Of images against the texts of all ranks, what belongs to their own: `[R, T]` -> `[R, K]`. A diagonal of blocks and not a `gather`: for that
 * one's gradient, in deterministic mode, older libtorches copy from the host, which no CUDA graph records.
 */
export function ofOwnTexts(x_RT: Tensor, { first, texts }: SharedFeatures, from: number, to: number): Tensor {
  const own_RRK = x_RT.view(to - from, -1, texts).slice(1, first + from, first + to);
  return ops.diagonal(own_RRK, 0, 0, 1).t();
}

function weighted(losses: Tensor, weights: Tensor | undefined): Tensor {
  return weights === undefined ? losses.sum() : losses.mul(weights).sum();
}

function withoutDuplicates(logits: Tensor, mask: () => Tensor | undefined): Tensor {
  const masked = noGrad(mask);
  return masked === undefined ? logits : ops.maskedFillScalar(logits, masked, -Infinity);
}

/** True where image and text of one slot are not a pair, and yet the text is a caption of the image: bool `[R, G]`. */
function duplicates(shared: SharedFeatures, from: number, to: number, slot: number, side: "image" | "text"): Tensor {
  const own_RK = shared.keys_BK!.slice(0, from, to);
  const all_GK = shared.keys_GK!;
  const slots = Array.from({ length: shared.texts }, (_, other) =>
    side === "image"
      ? own_RK.select(1, other).unsqueeze(1).eq(all_GK.select(1, slot))
      : own_RK.select(1, slot).unsqueeze(1).eq(all_GK.select(1, other)),
  );
  const places_G = arange(0, all_GK.sizeOf(0), { device: all_GK.device });
  return ops.logicalAnd(
    slots.reduce((a, b) => ops.logicalOr(a, b)),
    ops.neTensor(places_G, ownPlaces(shared, from, to).unsqueeze(1)),
  );
}

/** The same for all texts: bool `[R, G x K]`. */
export function duplicateTexts(shared: SharedFeatures, from: number, to: number): Tensor {
  return scope(() => {
    const slots = Array.from({ length: shared.texts }, (_, slot) => duplicates(shared, from, to, slot, "image").unsqueeze(2));
    return ops.cat(slots, 2).flatten(1);
  });
}
