/**
 * How queries are classified by a few labelled images: by the nearest class mean, or by votes of the nearest images.
 *
 * Both begin alike: features are moved by the mean of the support set, which takes away what all images of a model have in common, and
 * brought to length 1. Computed in float64, whatever the features are: an episode is small, and ties are real ones then.
 *
 * Shapes: E episodes, W ways, S shots a way, Q queries an episode (of all ways), D features.
 */
import { UsageError } from "../../support/index.ts";
import { Tensor, noGrad, ops, scope } from "../../torch/index.ts";

/** Which classifier, and its settings; `episodeClassifierSettings` holds the defaults. */
export interface EpisodeClassifier {
  /** "prototype": smallest distance to the mean of a class. "knn": votes of the nearest images, weighted by exp(cosine / temperature). */
  readonly name: "prototype" | "knn";
  /** Whether features are moved by the support set's mean first. */
  readonly centre?: boolean;
  /** knn: images that vote, of the support set's at most all. */
  readonly neighbours?: number;
  /** knn: the lower, the more the nearest count. */
  readonly temperature?: number;
}

/** The settings of a classifier, with defaults for what is left open. */
export function episodeClassifierSettings(classifier: EpisodeClassifier): Required<EpisodeClassifier> {
  const { name, centre = true, neighbours = 25, temperature = 0.07 } = classifier;
  return { name, centre, neighbours, temperature };
}

/**
 * Scores of the ways for each query, higher is nearer; of equal ones the first counts.
 *
 * @param support `[E, W * S, D]`, way by way
 * @param query `[E, Q, D]`
 * @returns `[E, Q, W]` float64: minus the distance to the mean, or the sum of votes
 * @throws UsageError for settings that make no classifier
 */
export function episodeScores(support: Tensor, query: Tensor, ways: number, classifier: EpisodeClassifier): Tensor {
  const { name, centre, neighbours, temperature } = episodeClassifierSettings(classifier);
  if (neighbours < 1) throw new UsageError(`${neighbours} neighbours: expected at least 1.`);
  if (!(temperature > 0)) throw new UsageError(`Temperature ${temperature}: expected more than 0.`);
  return noGrad(() =>
    scope(() => {
      const [episodes, shown, width] = support.shape as [number, number, number];
      const shots = shown / ways;
      const wide = support.to("float64");
      const middle_E1D = wide.mean(1, true);
      const ready = (x: Tensor): Tensor => unit(centre ? x.sub(middle_E1D) : x);
      const [support_ESD, query_EQD] = [ready(wide), ready(query.to("float64"))];
      if (name === "prototype") {
        const means_EWD = support_ESD.view(episodes, ways, shots, width).mean(2);
        return ops.cdist(query_EQD, means_EWD, 2, 2).neg();
      }
      const cosines_EQS = query_EQD.matmul(support_ESD.transpose(1, 2));
      const [best, indices] = cosines_EQS.topk(Math.min(neighbours, shown));
      const ways_EQK = ops.divScalarMode(indices, shots, "floor");
      const votes_EQW = ops.zeros([episodes, query.sizeOf(1), ways], "float64", null, query.device);
      return ops.scatterAdd_(votes_EQW, 2, ways_EQK, best.div(temperature).exp());
    }),
  );
}

function unit(x: Tensor): Tensor {
  return x.div(x.norm(-1, true).clamp(1e-12));
}
