/** Few-shot classification as a task of `evaluateAll`: shots from the training images, queries from the test images. */
import type { EvaluationItem } from "../../data/index.ts";
import { DataError } from "../../support/index.ts";
import { imageFeatures, type ImageFeatureKind } from "../features/index.ts";
import {
  EpisodeDraw,
  type EpisodeShape,
  type FewShotOptions,
  episodeClassifierSettings,
  fewShot,
  fewShotDefaults,
} from "../few-shot/index.ts";
import { itemsHash } from "../results/items-hash.ts";
import { preparationProtocol } from "./evaluated-model.ts";
import type { EvaluationTask } from "./task-plan.ts";

/** Settings of the task; those of episodes have the protocol's defaults, and the seed is that of all tasks. */
export interface FewShotTaskOptions extends Omit<FewShotOptions, "seed" | "signal"> {
  /** Default "class-token". */
  feature?: ImageFeatureKind;
  /** Draws shots from the test images too, where a data set has no training images. No image is both shot and query. Default false. */
  withinTest?: boolean;
}

/** The task with these settings. */
export function fewShotTask({ feature = "class-token", withinTest = false, ...options }: FewShotTaskOptions = {}): EvaluationTask {
  const episodes = { ...fewShotDefaults, ...options };
  const classifier = episodeClassifierSettings(episodes.classifier);
  return {
    name: "few-shot",
    takes: "classification",
    splits: ["train", "test"],
    plan(model, dataset, { batchSize, device, maximumSkipped, seed, store, signal }) {
      if (dataset.task !== "classification") return "it has captions and no classes";
      const train = dataset.splits.train ?? [];
      const test = dataset.splits.test ?? [];
      if (test.length === 0) return "there are no test images";
      if (train.length === 0 && !withinTest) return "there are no train images to draw shots from";
      const { ways, shots, queries, episodes: count } = episodes;
      if (dataset.classes.length < ways) return `it has ${dataset.classes.length} classes, and episodes have ${ways}. Ask for fewer ways`;
      const tooFew = withoutEpisodes(withinTest ? test : train, withinTest ? undefined : test, { ways, shots, queries });
      if (tooFew !== undefined) return tooFew;
      const { name, centre, neighbours, temperature } = classifier;
      const drawn = withinTest ? test : [...train, ...test];
      return {
        task: "few-shot",
        dataset: dataset.name,
        protocol: {
          ...preparationProtocol(model),
          feature,
          ways,
          shots,
          queries,
          episodes: count,
          shotsFrom: withinTest ? "test" : "train",
          classifier: name,
          centre,
          ...(name === "knn" ? { neighbours, temperature } : {}),
          maximumSkipped,
        },
        mainMetric: "acc1",
        dataHash: itemsHash(drawn, dataset.path, dataset.classes),
        seed,
        root: dataset.path,
        classes: dataset.names.map((own, label) => own[0] ?? dataset.classes[label]!),
        async run() {
          const settings = { kind: feature, batchSize, device, maximumSkipped, store, signal };
          const query = await imageFeatures(model, test, { ...settings, name: `${dataset.name} test` });
          try {
            const support = withinTest ? undefined : await imageFeatures(model, train, { ...settings, name: `${dataset.name} train` });
            try {
              const result = await fewShot(support ?? query, support && query, { ...episodes, classifier, seed, signal });
              const reasons = [...(support?.reasons ?? []), ...query.reasons].slice(0, 20);
              return {
                metrics: { acc1: result.accuracy, acc1_interval95: result.interval },
                counts: {
                  episodes: result.perEpisode.length,
                  classes: result.classes,
                  classesTooSmall: result.tooSmall,
                  images: query.labels.length,
                  trainImages: support?.labels.length ?? 0,
                },
                skipped: { count: (support?.skipped ?? 0) + query.skipped, reasons },
                values: {
                  items: Array.from(result.perEpisode, (_, i) => `episode ${i}`),
                  values: { acc1: [...result.perEpisode] },
                },
              };
            } finally {
              support?.features.dispose();
            }
          } finally {
            query.features.dispose();
          }
        },
      };
    },
  };
}

/** Why no episode can be drawn, known before any image is looked at; undefined where some can. */
function withoutEpisodes(
  support: readonly EvaluationItem[],
  query: readonly EvaluationItem[] | undefined,
  shape: EpisodeShape,
): string | undefined {
  const labels = (items: readonly EvaluationItem[]): Int32Array => Int32Array.from(items, ({ label }) => label);
  try {
    const draw = new EpisodeDraw(labels(support), query && labels(query), shape, 0);
    return draw.classes.length > 0 ? undefined : "no class has images enough";
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return `${error.message} ${error.mend}`.replace(/\.$/, "");
  }
}
