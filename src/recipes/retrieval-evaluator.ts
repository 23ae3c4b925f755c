/** Retrieval between images and captions while a model trains: what `laclip evaluate retrieval` says of them, along the way. */
import { type CaptionedItems, modelRetrieval } from "../evaluation/index.ts";
import type { Evaluator } from "../training/index.ts";

/** On what, and how often, retrieval is measured along the way. */
export interface RetrievalEvaluatorOptions {
  /** Images and captions, as `openRetrievalDataset` opens them. */
  dataset: CaptionedItems;
  /** Steps between evaluations; there is always one after the last step. */
  everySteps: number;
  /** Share of images that may be unreadable. Default 0.01. */
  maximumSkipped?: number | undefined;
  device?: string;
}

/** open_clip's names, and which of our metrics each of them is. */
const measures = {
  "val/image_to_text_R@1": "text_retrieval_recall@1",
  "val/image_to_text_R@5": "text_retrieval_recall@5",
  "val/image_to_text_R@10": "text_retrieval_recall@10",
  "val/image_to_text_median_rank": "text_retrieval_median_rank",
  "val/text_to_image_R@1": "image_retrieval_recall@1",
  "val/text_to_image_R@5": "image_retrieval_recall@5",
  "val/text_to_image_R@10": "image_retrieval_recall@10",
  "val/text_to_image_median_rank": "image_retrieval_median_rank",
} as const;

/** The weights change from one evaluation to the next, so that no features are kept. */
export function retrievalEvaluator({ dataset, everySteps, maximumSkipped = 0.01, device = "cpu" }: RetrievalEvaluatorOptions): Evaluator {
  return {
    everySteps,
    measures: Object.keys(measures),
    evaluate: async (model, preprocessing) => {
      const { metrics } = await modelRetrieval({ model, preprocessing }, dataset, { maximumSkipped, device, progress: false });
      return Object.fromEntries(Object.entries(measures).map(([name, metric]) => [name, metrics[metric]!]));
    },
  };
}
