/**
 * Which text a sample is trained with in an epoch (LaCLIP, section 3; data.py of LijieFan/LaCLIP), and the ways to choose that go beyond it.
 *
 * In the paper the original and every rewrite have the same chance. Beyond it, rewrites that were weighed against the image
 * (rewriting/checks/image-policies.ts) have a chance in proportion to their weight, the original's being 1; sources can have weights of their
 * own, which may change with the epochs; and several texts can be drawn for one image.
 * A text of fewer than two words, as a language model that stops early leaves it, gives way to the original. The choice depends on the
 * run's seed, the epoch and the sample, and on nothing that was chosen before.
 */
import { UsageError, invariant, Random } from "../support/index.ts";
import { type Caption, originalSource, type Sample } from "./sample.ts";

/**
 * "original": always the data set's own caption (CLIP). "uniform": original or a rewrite, each text with the same chance unless it was
 * weighed (LaCLIP). "weighted": first a source by its weight, then one of its texts.
 */
export type CaptionChoice = "original" | "uniform" | "weighted";

/** Weights of sources, the data set's own captions being "original"; those that are not named have 0. */
export type SourceWeights = Readonly<Record<string, number>>;

/** How sources are weighed, and how many texts an image gets. */
export interface CaptionRules {
  /**
   * For "weighted": the sources' weights; or weights for parts of the run, each from an epoch on (from 0, rising, the first at 0).
   * A source that a sample lacks leaves its share to the others, as with open_clip's `--json-text-key-probs`.
   */
  weights?: SourceWeights | readonly { fromEpoch: number; weights: SourceWeights }[] | undefined;
  /**
   * For "weighted": sources tried in this order where the one that was drawn has no text for a sample, instead of leaving its share to
   * the others; and where no source with a weight has one. After them comes the original.
   */
  fallback?: readonly string[] | undefined;
  /** Texts for each image, different ones as far as there are so many. Default 1. */
  textsPerImage?: number | undefined;
  /** Whether the original is the first of several texts. Default false. */
  alwaysOriginal?: boolean | undefined;
  /**
   * What the weights of rewrites that were held against their images change: how often they are drawn, or how much they count in the
   * loss ("loss": drawn like all others, and handed on with their weight). Default "draw".
   */
  weighing?: "draw" | "loss" | undefined;
}

/** What decides the choice beside the sample itself. */
export interface ChooseCaptionOptions extends CaptionRules {
  /** Seed of the run. */
  seed: number;
  /** Epoch, from 0. */
  epoch: number;
  choose: CaptionChoice;
}

type Texts = Pick<Sample, "id"> & { readonly captions: readonly Caption[] };

/** The texts of a sample in an epoch: `textsPerImage` of them. */
export function chooseCaptions(sample: Texts, options: ChooseCaptionOptions): Caption[] {
  const { seed, epoch, choose, textsPerImage = 1, alwaysOriginal = false } = options;
  const original = sample.captions[0];
  invariant(original !== undefined, `sample ${sample.id} has no caption`);
  const orOriginal = (caption: Caption): Caption => (wordCount(caption.text) < 2 ? original : caption);
  if (sample.captions.length === 1 || choose === "original") return Array.from({ length: textsPerImage }, () => original);
  const random = Random.of(seed, "caption", epoch, sample.id);
  const among = options.weighing === "loss" ? evenDraw : uniformDraw;
  const draw = choose === "weighted" ? weightedDraw(options, among) : among;
  const drawn: Caption[] = [];
  let left = sample.captions;
  if (alwaysOriginal && textsPerImage > 1) {
    drawn.push(original);
    left = left.slice(1);
  }
  while (drawn.length < textsPerImage) {
    const caption = draw(left, random, original);
    drawn.push(caption);
    left = left.filter((other) => other !== caption);
    // More than there are: from the beginning.
    if (left.length === 0 || caption === undefined) left = sample.captions;
  }
  return drawn.map(orOriginal);
}

/**
 * @throws UsageError for weights that are negative or all 0, parts of a run that do not rise, and numbers of texts below 1
 */
export function checkCaptionRules(choose: CaptionChoice, { weights, textsPerImage = 1 }: CaptionRules): void {
  if (!Number.isInteger(textsPerImage) || textsPerImage < 1)
    throw new UsageError(`Texts for each image must be a whole number of at least 1, got ${textsPerImage}.`);
  if (choose !== "weighted") return;
  if (weights === undefined) {
    throw new UsageError("Captions are to be drawn by the weights of their sources, and no weights were given.", {
      mend: `For instance --set captions.choose=weighted --set 'captions.weights={"original": 1, "chatgpt": 2}'.`,
    });
  }
  let epoch = -1;
  for (const part of parts(weights)) {
    if (part.fromEpoch <= epoch || (epoch === -1 && part.fromEpoch !== 0)) {
      throw new UsageError(`The epochs from which caption weights hold must begin with 0 and rise, got ${part.fromEpoch}.`);
    }
    epoch = part.fromEpoch;
    const values = Object.values(part.weights);
    if (values.some((weight) => !(weight >= 0 && Number.isFinite(weight))) || !values.some((weight) => weight > 0)) {
      throw new UsageError(`Caption weights must be numbers of at least 0, one of them above 0, got ${JSON.stringify(part.weights)}.`);
    }
  }
}

type Draw = (captions: readonly Caption[], random: Random, original: Caption) => Caption;

const uniformDraw: Draw = (captions, random) => {
  const weighed = captions.some(({ weight = 1 }) => weight !== 1);
  return weighed ? drawByWeight(captions, ({ weight = 1 }) => weight, random) : random.choice(captions);
};

/** Each text with the same chance, whatever it weighs. */
const evenDraw: Draw = (captions, random) => random.choice(captions);

function weightedDraw({ weights, epoch, fallback }: ChooseCaptionOptions, among: Draw): Draw {
  const current = parts(weights!).findLast(({ fromEpoch }) => fromEpoch <= epoch)!.weights;
  const named = Object.keys(current).filter((source) => current[source]! > 0);
  return (captions, random, original) => {
    const of = (source: string): Caption[] => captions.filter((caption) => caption.source === source);
    const present = named.filter((source) => of(source).length > 0);
    const source =
      (fallback ? named : present).length === 0 ? undefined : drawByWeight(fallback ? named : present, (name) => current[name]!, random);
    const texts = source === undefined ? [] : of(source);
    if (texts.length > 0) return among(texts, random, original);
    const instead = [...(fallback ?? []), ...Object.keys(current), originalSource].find((name) => of(name).length > 0);
    return instead === undefined ? captions[0]! : among(of(instead), random, original);
  };
}

function parts(weights: NonNullable<CaptionRules["weights"]>): readonly { fromEpoch: number; weights: SourceWeights }[] {
  return isSchedule(weights) ? weights : [{ fromEpoch: 0, weights }];
}

function isSchedule(weights: NonNullable<CaptionRules["weights"]>): weights is readonly { fromEpoch: number; weights: SourceWeights }[] {
  return Array.isArray(weights);
}

function drawByWeight<T>(items: readonly T[], weightOf: (item: T) => number, random: Random): T {
  const total = items.reduce((sum, item) => sum + weightOf(item), 0);
  let left = random.uniform() * total;
  for (const item of items) {
    left -= weightOf(item);
    if (left < 0) return item;
  }
  // Rounding may leave a trifle over.
  return items.at(-1)!;
}

function wordCount(text: string): number {
  const trimmed = text.trim();
  return trimmed === "" ? 0 : trimmed.split(/\s+/).length;
}
