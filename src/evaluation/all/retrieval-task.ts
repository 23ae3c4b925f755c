/** Retrieval between images and captions as a task of `evaluateAll`. */
import { sha256 } from "../../support/index.ts";
import { imageFeatures, textFeatures } from "../features/index.ts";
import { retrieval } from "../retrieval/index.ts";
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
        dataset: dataset.name,
        protocol: {
          ...preparationProtocol(model),
          split: dataset.split,
          captions: captionHash.slice(0, 16),
          ties: "against",
          maximumSkipped,
        },
        mainMetric: `image_retrieval_recall@${recalls.includes(5) ? 5 : recalls[0]}`,
        dataHash: sha256(JSON.stringify([itemsHash(images, path, []), captionHash, [...imageOf]])),
        root: path,
        async run() {
          const settings = { device, store, signal };
          const seen = await imageFeatures(model, images, {
            ...settings,
            kind: "joint",
            batchSize,
            maximumSkipped,
            name: `${dataset.name} images`,
          });
          try {
            const places = new Map(Array.from(seen.rows, (row, place) => [row, place]));
            // Captions of images that can't be read have nothing to find.
            const kept = captions.flatMap((_, text) => (places.has(imageOf[text]!) ? [text] : []));
            const read = await textFeatures(
              model,
              kept.map((text) => captions[text]!),
              { ...settings, name: `${dataset.name} captions` },
            );
            try {
              const owners = Int32Array.from(kept, (text) => places.get(imageOf[text]!)!);
              const { metrics, ranks } = retrieval(seen.features, read, owners, { recalls });
              const [ofTexts, ofImages] = [[...ranks.ofTexts], [...ranks.ofImages]];
              const found = (own: readonly number[], before: number, after: number, place: number): (number | null)[] => [
                ...Array.from({ length: before }, () => null),
                ...own.map((rank) => (rank === 0 ? null : Number(rank <= place))),
                ...Array.from({ length: after }, () => null),
              ];
              const values = Object.fromEntries(
                recalls.flatMap((place) => [
                  [`image_retrieval_recall@${place}`, found(ofTexts, 0, ofImages.length, place)] as const,
                  [`text_retrieval_recall@${place}`, found(ofImages, ofTexts.length, 0, place)] as const,
                ]),
              );
              const names = [...seen.rows].map((row) => itemName(images[row]!.path, path));
              return {
                metrics,
                counts: { images: names.length, captions: kept.length },
                skipped: { count: seen.skipped, reasons: seen.reasons },
                values: { items: [...kept.map((text) => `caption ${text}`), ...names], values },
              };
            } finally {
              read.dispose();
            }
          } finally {
            seen.features.dispose();
          }
        },
      };
    },
  };
}
