/**
 * How much pairs and samples count by what the model sees in them at this step, in the manner of ALIP (Yang et al. 2023).
 *
 * Two signs of a wrong text: it fits its image less well than texts of other images fit theirs, and it says other things than the
 * image's other texts. What lies below the mean by d counts exp(-sharpness d), the rest 1. The means are those of the present batch of
 * all ranks; ALIP's run along over batches, which a run's state would have to keep. No gradient passes.
 *
 * Shapes: B own images, K texts of each, D joint width.
 */
import type { FeatureGroup } from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { type Tensor, noGrad, ops, scope } from "../torch/index.ts";

/** ALIP's value of both is 2. */
export interface Sharpness {
  /** For pairs, by the similarity of image and text. Default: they count alike. */
  readonly fit?: number | undefined;
  /** For samples, by the similarity of their texts among each other; K of 2 and more. Default: they count alike. */
  readonly agreement?: number | undefined;
}

/**
 * Weights of pairs, 0..1. With both, the fit of a text counts only in samples that agree less than the mean, as in ALIP.
 * @param images_BD length 1, as texts
 * @returns float32 `[B, K]`; undefined where all count alike
 * @throws UsageError when texts are to agree and there is one for each image
 */
export function weightsAsSeen(
  images_BD: Tensor,
  texts_BKD: Tensor,
  { fit, agreement }: Sharpness,
  group: FeatureGroup,
): Tensor | undefined {
  if (fit === undefined && agreement === undefined) return undefined;
  return noGrad(() =>
    scope(() => {
      const ofPairs_BK = fit === undefined ? undefined : below(fits(images_BD, texts_BKD), fit, group);
      if (agreement === undefined) return ofPairs_BK!;
      const ofSamples_B1 = below(agreements(texts_BKD), agreement, group).unsqueeze(1);
      const ofSamples_BK = ofSamples_B1.expand(texts_BKD.sizeOf(0), texts_BKD.sizeOf(1));
      return ofPairs_BK === undefined
        ? ofSamples_BK
        : ops.whereSelf(ops.ltScalar(ofSamples_B1, 1), ofPairs_BK.mul(ofSamples_B1), ofSamples_BK);
    }),
  );
}

/** Cosine of each image and text, `[B, K]`. */
function fits(images_BD: Tensor, texts_BKD: Tensor): Tensor {
  return images_BD.unsqueeze(1).mul(texts_BKD).sum(-1);
}

/** Mean cosine of two texts of an image, `[B]`: their sum's square holds each two of them twice, and each with itself. */
function agreements(texts_BKD: Tensor): Tensor {
  const texts = texts_BKD.sizeOf(1);
  if (texts < 2) {
    throw new UsageError("agreementSharpness compares the texts of an image with each other, and there is one for each.", {
      mend: "Draw two and more: --set captions.textsPerImage=2.",
    });
  }
  const sum_BD = texts_BKD.sum(1);
  return sum_BD
    .mul(sum_BD)
    .sum(-1)
    .sub(texts)
    .div(texts * (texts - 1));
}

function below(similarities: Tensor, sharpness: number, group: FeatureGroup): Tensor {
  const mean = group.gather(similarities.mean().reshape(1)).mean();
  return similarities.sub(mean).clamp(null, 0).mul(sharpness).exp();
}
