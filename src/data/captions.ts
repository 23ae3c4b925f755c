/**
 * Which text a sample is trained with in an epoch (LaCLIP, section 3; data.py of LijieFan/LaCLIP).
 *
 * The original and every rewrite have the same chance, unless rewrites were weighed against the image (rewriting/image-policies.ts):
 * then each has a chance in proportion to its weight, the original's being 1. A text of fewer than two words, as a language model that stops early leaves it,
 * gives way to the original. The choice depends on the run's seed, the epoch and the sample, and on nothing that was chosen before.
 */
import { invariant, Random } from "../support/index.ts";
import type { Caption, Sample } from "./sample.ts";

/** "original": always the data set's own caption (CLIP). "uniform": original or a rewrite, each with the chance that its weight says, the same by default (LaCLIP). */
export type CaptionChoice = "original" | "uniform";

/** What decides the choice beside the sample itself. */
export interface ChooseCaptionOptions {
  /** Seed of the run. */
  seed: number;
  /** Epoch, from 0. */
  epoch: number;
  choose: CaptionChoice;
}

/** The caption of a sample in an epoch. */
export function chooseCaption(sample: Sample, { seed, epoch, choose }: ChooseCaptionOptions): Caption {
  const original = sample.captions[0];
  invariant(original !== undefined, `sample ${sample.id} has no caption`);
  if (choose === "original" || sample.captions.length === 1) return original;
  const random = Random.of(seed, "caption", epoch, sample.id);
  const weighed = sample.captions.some(({ weight = 1 }) => weight !== 1);
  const chosen = weighed ? drawByWeight(sample.captions, random) : random.choice(sample.captions);
  return wordCount(chosen.text) < 2 ? original : chosen;
}

function drawByWeight(captions: readonly Caption[], random: Random): Caption {
  const total = captions.reduce((sum, { weight = 1 }) => sum + weight, 0);
  let left = random.uniform() * total;
  for (const caption of captions) {
    left -= caption.weight ?? 1;
    if (left < 0) return caption;
  }
  // Rounding may leave a trifle over.
  return captions.at(-1)!;
}

function wordCount(text: string): number {
  const trimmed = text.trim();
  return trimmed === "" ? 0 : trimmed.split(/\s+/).length;
}
