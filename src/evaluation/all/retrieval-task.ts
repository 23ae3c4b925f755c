/** Retrieval between images and captions as a task of `evaluateAll`. */
import { sha256 } from "../../support/index.ts";
import { modelRetrieval } from "../retrieval/index.ts";
import { itemName, itemsHash } from "../results/items-hash.ts";
import { preparationProtocol } from "./evaluated-model.ts";
import type { EvaluationTask } from "./task-plan.ts";

/** Settings of the task. */
export interface RetrievalTaskOptions {
  /** Places that count as found. Default 1, 5 and 10. */
  recalls?: readonly number[];
}

/** The task with these settings. */
export function retrievalTask({ recalls = [1, 5, 10] }: RetrievalTaskOptions = {}): EvaluationTask {
  return {
    name: "retrieval",
    takes: "retrieval",
    splits: ["test"],
    plan(model, dataset, { batchSize, device, maximumSkipped, store, signal }) {
      if (dataset.task !== "retrieval") return "it has classes and no captions";
      const { images, captions, imageOf, path } = dataset;
      const captionHash = sha256(JSON.stringify(captions));
      return {
        task: "retrieval",
        dataset: dataset.split === "test" ? dataset.name : `${dataset.name}-${dataset.split}`,
        protocol: {
          ...preparationProtocol(model),
          split: dataset.split,
          captions: captionHash.slice(0, 16),
          ties: "against",
          recalls: [...recalls],
          maximumSkipped,
        },
        mainMetric: `image_retrieval_recall@${recalls.includes(5) ? 5 : recalls[0]}`,
        dataHash: sha256(JSON.stringify([itemsHash(images, path, []), captionHash, [...imageOf]])),
        root: path,
        async run() {
          const settings = { batchSize, device, maximumSkipped, store, signal };
          const found = await modelRetrieval(model, dataset, { ...settings, recalls });
          const [ofTexts, ofImages] = [[...found.ranks.ofTexts], [...found.ranks.ofImages]];
          const among = (ranks: readonly number[], place: number): (number | null)[] =>
            ranks.map((rank) => (rank === 0 ? null : Number(rank <= place)));
          const nothing = (ranks: readonly number[]): null[] => ranks.map(() => null);
          const values = Object.fromEntries(
            recalls.flatMap((place) => [
              [`image_retrieval_recall@${place}`, [...among(ofTexts, place), ...nothing(ofImages)]] as const,
              [`text_retrieval_recall@${place}`, [...nothing(ofTexts), ...among(ofImages, place)]] as const,
            ]),
          );
          const names = Array.from(found.images, (row) => itemName(images[row]!.path, path));
          return {
            metrics: found.metrics,
            counts: { images: names.length, captions: found.captions.length },
            skipped: { count: found.skipped, reasons: found.reasons },
            values: { items: [...found.captions.map((caption) => `caption ${caption}`), ...names], values },
          };
        },
      };
    },
  };
}
