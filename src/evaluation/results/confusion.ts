/** Which classes a model takes for which others, counted over the predictions of a classification. */
import type { ClassifiedItem } from "./outcomes.ts";

/** A class, how much of it is right, and what the rest is taken for. */
export interface ClassScore {
  label: number;
  images: number;
  /** Images whose best class is the right one. */
  right: number;
  /** `right / images`, 0..1 */
  recall: number;
  /** Of the images that are taken for this class, the share that is of it, 0..1; undefined where none is taken for it. */
  precision: number | undefined;
  /** Other classes that its images are taken for, the most frequent first. */
  takenFor: { label: number; images: number }[];
}

/**
 * Counts by class and best guess: row = the right class, column = the guess.
 * @param classes number of classes
 */
export function confusionMatrix(items: readonly ClassifiedItem[], classes: number): Uint32Array[] {
  const matrix = Array.from({ length: classes }, () => new Uint32Array(classes));
  for (const { label, guesses } of items) if (guesses.length > 0) matrix[label]![guesses[0]!]!++;
  return matrix;
}

/** The classes that have images, those with the least recall first; among equals, those with more images. */
export function classScores(matrix: readonly Uint32Array[]): ClassScore[] {
  const guessed = new Float64Array(matrix.length);
  for (const row of matrix) row.forEach((count, guess) => (guessed[guess]! += count));
  return matrix
    .flatMap((row, label) => {
      const images = row.reduce((sum, count) => sum + count, 0);
      if (images === 0) return [];
      const right = row[label]!;
      const takenFor = Array.from(row, (count, guess) => ({ label: guess, images: count }))
        .filter((one) => one.label !== label && one.images > 0)
        .sort((a, b) => b.images - a.images || a.label - b.label);
      const precision = guessed[label] === 0 ? undefined : right / guessed[label]!;
      return [{ label, images, right, recall: right / images, precision, takenFor }];
    })
    .sort((a, b) => a.recall - b.recall || b.images - a.images || a.label - b.label);
}

/** Pairs of classes that are taken for one another, by the number of images, both ways together. */
export function confusedPairs(matrix: readonly Uint32Array[]): { labels: [number, number]; images: number }[] {
  const pairs: { labels: [number, number]; images: number }[] = [];
  for (let a = 0; a < matrix.length; a++) {
    for (let b = a + 1; b < matrix.length; b++) {
      const images = matrix[a]![b]! + matrix[b]![a]!;
      if (images > 0) pairs.push({ labels: [a, b], images });
    }
  }
  return pairs.sort((a, b) => b.images - a.images);
}
