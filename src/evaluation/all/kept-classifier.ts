/** A linear classifier that an earlier task has kept in a folder: whether it fits a model and a data set, and what results say of it. */
import { UsageError, log } from "../../support/index.ts";
import type { EvaluationDataset } from "../datasets/index.ts";
import { type ClassifierDescription, LinearClassifier } from "../linear-probe/index.ts";

/** What a folder says of its classifier. */
export interface KeptClassifier extends ClassifierDescription {
  readonly folder: string;
  readonly hash: string;
}

/** @throws see `LinearClassifier.load` */
export function readKept(folder: string): KeptClassifier {
  const { classifier, description, hash } = LinearClassifier.load(folder);
  classifier.dispose();
  return { ...description, folder, hash };
}

/** What was found when it was fitted, for its results. */
export function foundWhenFitted({ fitted }: ClassifierDescription): ClassifierDescription["fitted"] {
  const known = ["C", "weight_decay", "epochs", "converged"].filter((name) => fitted[name] !== undefined);
  return Object.fromEntries(known.map((name) => [name, fitted[name]!]));
}

/** What stands in the result of a classifier that was kept: how it was fitted, and to which data set. */
export function appliedProtocol({ folder, hash, fitted: { dataset, ...fitted } }: KeptClassifier): ClassifierDescription["fitted"] {
  return { classifier: folder, classifierHash: hash, fittedTo: dataset ?? null, ...fitted };
}

/**
 * Says so when a classifier was fitted to another data set than that which it is applied to.
 * @throws UsageError when it is of another model, of images that were prepared otherwise, or tells other classes apart
 */
export function checkClassifier(
  { folder, ...kept }: KeptClassifier,
  now: Pick<ClassifierDescription, "model" | "preparation"> & { dataset: Pick<EvaluationDataset, "name" | "classes"> },
): void {
  if (kept.model !== now.model) {
    throw new UsageError(`${folder}: this classifier was fitted to features of a model with other weights.`, {
      mend: "Give that model, or fit a classifier to this one (without --classifier).",
    });
  }
  const other = Object.keys({ ...now.preparation, ...kept.preparation }).find((name) => kept.preparation[name] !== now.preparation[name]);
  if (other !== undefined) {
    const said = (value: string | number | undefined): string => String(value ?? "unknown");
    const what =
      other === "description"
        ? "of a model with the same weights and another description (laclip.json)"
        : `of images with ${other} ${said(kept.preparation[other])}; here it is ${said(now.preparation[other])}`;
    throw new UsageError(`${folder}: this classifier was fitted to features ${what}.`, {
      mend: "Prepare images as it was fitted, or fit another classifier (without --classifier).",
    });
  }
  checkClasses(folder, kept.classes, now.dataset.classes);
  if (kept.fitted["dataset"] === now.dataset.name) return;
  log.warn(
    `${folder}: this classifier was fitted to ${kept.fitted["dataset"]}, and is applied to ${now.dataset.name}. ` +
      "Both call their classes alike; whether they mean the same by that is not known here.",
  );
}

function checkClasses(folder: string, kept: readonly string[], now: readonly string[]): void {
  const wrong = now.findIndex((name, label) => kept[label] !== name);
  if (kept.length === now.length && wrong < 0) return;
  throw new UsageError(
    kept.length === now.length
      ? `${folder}: class ${wrong} is "${kept[wrong]}" in this classifier and "${now[wrong]}" in the data set.`
      : `${folder}: this classifier has ${kept.length} classes, the data set ${now.length}.`,
    { mend: "Give a data set with the classes that it was fitted to." },
  );
}
