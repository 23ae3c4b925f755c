/**
 * Few-shot classification on frozen features: the mean accuracy over many small episodes.
 *
 * The paper reports 5-way 5-shot accuracy, and the nearest published protocol is that of El Banani et al. (CVPR 2023): 5,000 episodes, 6
 * queries a class, shots from train and queries from test, nearest class mean. These are the defaults. The paper's own number of
 * episodes and its classifier are not known.
 */
import { InterruptedError, UsageError } from "../../support/index.ts";
import { Tensor, scope } from "../../torch/index.ts";
import type { LabelledFeatures } from "../linear-probe/softmax-objective.ts";
import { interval } from "../results/interval.ts";
import { type Episode, EpisodeDraw, type EpisodeShape } from "./episode.ts";
import { type EpisodeClassifier, episodeScores } from "./episode-classifier.ts";

/** What is asked for; `fewShotDefaults` holds the defaults. */
export interface FewShotOptions extends Partial<EpisodeShape> {
  episodes?: number;
  seed?: number;
  classifier?: EpisodeClassifier;
  /** Stops between some episodes and the next. */
  signal?: AbortSignal | undefined;
}

/** The protocol's numbers. */
export const fewShotDefaults = {
  ways: 5,
  shots: 5,
  queries: 6,
  episodes: 5000,
  seed: 0,
  classifier: { name: "prototype" },
} as const satisfies Required<Omit<FewShotOptions, "signal">>;

/** What came out. */
export interface FewShotResult {
  /** Mean over episodes of the share of queries that are right, 0..1. */
  readonly accuracy: number;
  /** Half of the 95 % interval of this mean. */
  readonly interval: number;
  /** `[episodes]` the share of each. */
  readonly perEpisode: Float64Array;
  /** Everything it was measured with. */
  readonly settings: Required<Omit<FewShotOptions, "classifier" | "signal">> & { readonly classifier: EpisodeClassifier };
  /** Classes that episodes were drawn from, and how many had too few images for that. */
  readonly classes: number;
  readonly tooSmall: number;
}

/** Elements of features of the episodes that are computed at once. */
const elementsAtOnce = 1 << 22;

/**
 * Classifies the queries of many episodes.
 *
 * @param support images that shots are drawn from
 * @param query images that queries are drawn from; undefined when they are the same
 * @throws UsageError for sizes that make no episode; DataError when too few classes have images enough; InterruptedError when
 *   stopped
 */
export async function fewShot(
  support: LabelledFeatures,
  query: LabelledFeatures | undefined,
  { signal, ...options }: FewShotOptions = {},
): Promise<FewShotResult> {
  const { ways, shots, queries, episodes, seed, classifier }: Required<Omit<FewShotOptions, "signal">> = { ...fewShotDefaults, ...options };
  if (!Number.isSafeInteger(episodes) || episodes < 2) {
    throw new UsageError(`${episodes} episodes: expected at least 2, since an interval is computed from their spread.`);
  }
  const draw = new EpisodeDraw(support.labels, query?.labels, { ways, shots, queries }, seed);
  const perEpisode = new Float64Array(episodes);
  const together = Math.max(1, Math.floor(elementsAtOnce / (ways * (shots + queries) * support.features.sizeOf(1))));
  for (let at = 0; at < episodes; at += together) {
    await new Promise((resolve) => setImmediate(resolve));
    if (signal?.aborted)
      throw new InterruptedError(`Stopped after ${at} of ${episodes} episodes.`, { mend: "Start the same command again." });
    const some = Array.from({ length: Math.min(together, episodes - at) }, (_, i) => draw.episode(at + i));
    const right = scope(() => {
      const take = (features: Tensor, rows: (episode: Episode) => number[]): Tensor => {
        const index = BigInt64Array.from(some.flatMap((episode) => rows(episode).map(BigInt)));
        const taken = features.indexSelect(0, Tensor.from(index, [index.length], { device: features.device }));
        return taken.view(some.length, index.length / some.length, features.sizeOf(1));
      };
      const shown = take(support.features, (episode) => episode.support);
      const asked = take((query ?? support).features, (episode) => episode.query);
      return episodeScores(shown, asked, ways, classifier).argmax(2).toArray();
    });
    some.forEach((_, i) => {
      let sum = 0;
      for (let j = 0; j < ways * queries; j++) if (right[i * ways * queries + j] === Math.floor(j / queries)) sum++;
      perEpisode[at + i] = sum / (ways * queries);
    });
  }
  const { mean, half } = interval([...perEpisode]);
  return {
    accuracy: mean,
    interval: half!,
    perEpisode,
    settings: { ways, shots, queries, episodes, seed, classifier },
    classes: draw.classes.length,
    tooSmall: draw.tooSmall,
  };
}
