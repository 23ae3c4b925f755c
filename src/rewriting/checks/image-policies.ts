/**
 * Rewrites held against the image: what a CLIP model thinks of rewrite and caption decides whether, and how often, a rewrite is
 * trained on.
 *
 * A language model that has not seen the picture makes things up, and CLIP then learns what is not there. With s the cosine
 * of image and rewrite and s0 that of image and caption, four answers are offered:
 *
 *   keep         a rewrite stays if s >= s0 - delta
 *   best-of      the K rewrites with the largest s stay
 *   down-weight  all stay, each with the weight min(1, exp((s - s0) / softness))
 *   weigh-pairs  all stay, and so the caption, each with the weight min(1, exp((s - m) / softness)), m being the mean of s0 over captions
 *
 * The last is in the manner of ALIP (Yang et al. 2023), whose means run along in training, one for captions and one for rewrites, and
 * whose softness is 1/2.
 *
 * This room knows no tensors: whoever has a model hands in a scorer.
 */
import type { FilePart, Rewrite } from "../../data/index.ts";
import { isUsable } from "../../data/index.ts";

/** What follows from the cosines. */
export type ImagePolicy =
  | { readonly kind: "keep"; readonly delta: number }
  | { readonly kind: "best-of"; readonly count: number }
  | { readonly kind: "down-weight"; readonly softness: number }
  /** `mean`: what an image and its caption have in common on average; needed before the policy is applied. */
  | { readonly kind: "weigh-pairs"; readonly softness: number; readonly mean?: number };

/** An image and texts that may describe it. */
export interface ImageTexts {
  /** What the image is called: path of its file, or where else it is. */
  readonly image: string;
  /** Where it is when it has no file of its own. Default: the file `image`. */
  readonly source?: FilePart;
  readonly texts: readonly string[];
}

/** Says how well texts fit images. */
export interface ImageTextScorer {
  /** The model, for people. */
  readonly model: string;
  /** Changes when the model does. */
  readonly modelHash: string;
  /**
   * @returns for each image the cosine with each of its texts, -1..1; or, where it can't be read, why
   */
  score(items: readonly ImageTexts[]): Promise<({ readonly cosines: readonly number[] } | { readonly unreadable: string })[]>;
}

/** Flags of rewrites that a policy keeps out of training. */
const imageFlags = { keep: "rejected:unlike-image", "best-of": "rejected:not-among-best" } as const;

/** Digits that are kept: enough for chances and differences, and the same on all machines more often than not. */
const weightDigits = 4;
const fitDigits = 5;

/** Rewrites with how well they fit the image beside their caption. @param cosines of image and caption, then of image and each rewrite */
export function withFits(rewrites: readonly Rewrite[], [original, ...cosines]: readonly number[]): Rewrite[] {
  return rewrites.map((rewrite, i) => ({ ...rewrite, fit: rounded(cosines[i]! - original!, fitDigits) }));
}

/** A rewrite that knows how well the caption fits the image. @param cosine -1..1 */
export function withCaptionCosine(rewrite: Rewrite, cosine: number): Rewrite {
  return { ...rewrite, captionCosine: Math.max(-1, Math.min(1, rounded(cosine, fitDigits))) };
}

/** The rewrites of one caption with the flags and weights that their fits call for; those that were not measured stay as they are. */
export function applyPolicy(policy: ImagePolicy, rewrites: readonly Rewrite[]): Rewrite[] {
  const best = new Set(policy.kind === "best-of" ? bestOf(rewrites, policy.count) : []);
  return rewrites.map((rewrite) => {
    const { fit } = rewrite;
    if (fit === undefined || (policy.kind === "weigh-pairs" && rewrite.captionCosine === undefined)) return rewrite;
    if (policy.kind === "down-weight" || policy.kind === "weigh-pairs") {
      const better = policy.kind === "down-weight" ? fit : rewrite.captionCosine! + fit - policy.mean!;
      const weight = weightOf(better, policy.softness);
      return weight === 1 ? rewrite : { ...rewrite, weight };
    }
    const stays = policy.kind === "keep" ? fit >= -policy.delta : best.has(rewrite);
    return stays ? rewrite : { ...rewrite, flags: [imageFlags[policy.kind], ...rewrite.flags] };
  });
}

/** A rewrite with the weight of its sample's own caption, where the policy gives it one. */
export function withCaptionWeight(policy: ImagePolicy, rewrite: Rewrite): Rewrite {
  if (policy.kind !== "weigh-pairs" || rewrite.captionCosine === undefined) return rewrite;
  return { ...rewrite, captionWeight: weightOf(rewrite.captionCosine - policy.mean!, policy.softness) };
}

/** Never 0: a text that is not to be trained on is rejected, not weighed. */
function weightOf(better: number, softness: number): number {
  return Math.max(10 ** -weightDigits, rounded(Math.min(1, Math.exp(better / softness)), weightDigits));
}

/** Those with the largest fit; of equal ones those that come first. */
function bestOf(rewrites: readonly Rewrite[], count: number): Rewrite[] {
  const measured = rewrites.filter(({ fit }) => fit !== undefined);
  return measured.toSorted((a, b) => b.fit! - a.fit!).slice(0, count);
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** A rewrite as if no policy had ever been applied to it; what was measured stays. */
export function withoutPolicy({ weight: _before, captionWeight: _captionBefore, ...rewrite }: Rewrite): Rewrite {
  const known: readonly string[] = Object.values(imageFlags);
  return { ...rewrite, flags: rewrite.flags.filter((flag) => !known.includes(flag)) };
}

/** The numbers of a policy, for the manifest. */
export function recordPolicy(
  policy: ImagePolicy,
  { model, modelHash }: { readonly model: number | string; readonly modelHash: number | string },
): Record<string, number | string> {
  const { kind, ...numbers } = policy;
  return { model, modelHash, policy: kind, ...numbers };
}

/** What came of a comparison with images. */
export interface ImageReport {
  /** Captions whose image was looked at, and those whose image can't be read or is not named; their rewrites stay as they are. */
  images: number;
  unreadable: number;
  /** Rewrites that were compared, and those of them that were rejected. */
  compared: number;
  rejected: number;
  /** Mean weight of those that were not rejected, and of the captions that were looked at. */
  meanWeight: number;
  meanCaptionWeight: number;
  /** s - s0 at 0, 5, 25, 50, 75, 95 and 100 per cent of the rewrites (of a sample of them, where they are many). */
  fits: number[];
}

/** Adds up what came of a comparison. */
export class ImageTally {
  readonly #report = { images: 0, unreadable: 0, compared: 0, rejected: 0 };
  #weights = 0;
  #captionWeights = 0;
  /** Every so many fits are kept: enough for quantiles, and bounded. */
  #every = 1;
  #fits: number[] = [];

  addUnreadable(): void {
    this.#report.unreadable++;
  }

  /** @param rewrites those of one caption that were compared, after the policy */
  add(rewrites: readonly Rewrite[]): void {
    this.#report.images++;
    this.#captionWeights += rewrites[0]?.captionWeight ?? 1;
    for (const rewrite of rewrites) {
      if (this.#report.compared++ % this.#every === 0) this.#fits.push(rewrite.fit!);
      if (isUsable(rewrite)) this.#weights += rewrite.weight ?? 1;
      else this.#report.rejected++;
    }
    if (this.#fits.length < 200_000) return;
    this.#fits = this.#fits.filter((_, i) => i % 2 === 0);
    this.#every *= 2;
  }

  get report(): ImageReport {
    const sorted = this.#fits.toSorted((a, b) => a - b);
    const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))]!;
    const kept = this.#report.compared - this.#report.rejected;
    const fits = sorted.length === 0 ? [] : [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1].map(at);
    const { images } = this.#report;
    const meanCaptionWeight = images === 0 ? 1 : this.#captionWeights / images;
    return { ...this.#report, meanWeight: kept === 0 ? 1 : this.#weights / kept, meanCaptionWeight, fits };
  }
}
