/**
 * Splits of sets that come without: drawn class by class, from the class's name and a fixed seed, so that they are the same everywhere.
 */
import { Random } from "../../support/index.ts";
import type { EvaluationItem } from "../../data/index.ts";
import type { OpenedLayout, SplitName } from "./dataset.ts";

/**
 * Draws so many images of each class for each split; an image is in one split at most.
 *
 * @param items all images, in an order that does not depend on the machine
 * @param sizes images of a split for a class with so many, in the order in which splits are drawn
 */
export function drawSplits(
  set: string,
  classes: readonly string[],
  items: readonly EvaluationItem[],
  sizes: Partial<Record<SplitName, (images: number) => number>>,
): OpenedLayout["splits"] {
  const drawn = new Map<SplitName, EvaluationItem[]>(Object.keys(sizes).map((split) => [split as SplitName, []]));
  const ofClass = classes.map(() => [] as EvaluationItem[]);
  for (const item of items) ofClass[item.label]!.push(item);
  for (const [label, name] of classes.entries()) {
    const own = ofClass[label]!;
    const order = Random.of("split", set, name).permutation(own.length);
    let at = 0;
    for (const [split, size] of Object.entries(sizes)) {
      const end = Math.min(own.length, at + size(own.length));
      // Sorted, so that a split lists its images as folders do.
      drawn.get(split as SplitName)!.push(...Array.from(order.slice(at, end).sort(), (i) => own[i]!));
      at = end;
    }
  }
  return Object.fromEntries([...drawn].map(([split, own]) => [split, () => own]));
}
