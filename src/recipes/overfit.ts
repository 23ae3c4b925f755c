/**
 * One batch, trained on again and again, must be learnt by heart. Where it is not, data or settings are broken, and a long run would
 * have found out late.
 *
 * The loss can't fall below what equal captions or equal images in the batch leave undecided: ln m for each of m that are alike.
 */
import { type Batch, openLoader } from "../data/index.ts";
import { Clip, type Preprocessing } from "../models/index.ts";
import { ClipLoss } from "../objectives/index.ts";
import { AdamW } from "../optim/index.ts";
import { DataError, Progress, Random } from "../support/index.ts";
import { ClipTokenizer } from "../text/index.ts";
import { decayGroups, trainStep } from "../training/index.ts";
import { type RunData, openData } from "./open-data.ts";
import type { Recipe } from "./recipe.ts";
import { shapeOf } from "./run-recipe.ts";

export interface OverfitOptions {
  recipe: Recipe;
  /** Default: pictures that are drawn on the spot. */
  data?: RunData | undefined;
  /** Samples of the batch. Default 16. */
  batchSize?: number | undefined;
  /** Steps at most. Default 300. */
  steps?: number | undefined;
  device?: string;
}

export interface OverfitReport {
  /** The batch was learnt by heart, as far as it can be. */
  ok: boolean;
  samples: number;
  steps: number;
  /** Loss of a model that guesses: ln(samples). */
  chance: number;
  /** Least loss that the batch allows. */
  floor: number;
  /** Loss of the first step and of the last. */
  first: number;
  last: number;
  /** What is wrong or worth a look, and what to do about it. */
  findings: { what: string; mend: string }[];
}

/** The batch counts as learnt when its loss is so near to the least possible. */
const near = 0.1;

/**
 * @throws DataError when the data hold fewer samples than the batch; UsageError for settings that make no model; see `openData`
 */
export async function overfit(options: OverfitOptions): Promise<OverfitReport> {
  const { recipe, batchSize = 16, steps = 300, device = "cpu" } = options;
  const { images, optimizer: settings, training } = recipe;
  // The towers alone: it is CLIP's loss that is learnt by heart.
  const { logitScale: _, logitBias: __, viewHead: ___, ...shape } = shapeOf(recipe);
  const sizes = { batchSize, imageSize: shape.vision.imageSize, contextLength: shape.text.contextLength };
  const batch = options.data === undefined ? drawnBatch(sizes) : await firstBatch(recipe, options.data, sizes);
  const preprocessing: Preprocessing = { mean: images.mean, std: images.std, interpolation: images.interpolation };
  const model = new Clip(shape, { seed: training.seed });
  const optimizer = new AdamW(decayGroups(model, settings.weightDecay), { betas: settings.betas, eps: settings.eps });
  const context = { model, preprocessing, objective: new ClipLoss(), optimizer, precision: training.precision, device };
  const { floor, findings } = look(batch);
  const warmup = Math.max(1, Math.round(steps / 10));
  const progress = new Progress({ label: "overfit", total: steps, unit: "steps" });
  const losses: number[] = [];
  let firstNorm = 0;
  try {
    while (losses.length < steps) {
      const lr = settings.peakLr * Math.min(1, (losses.length + 1) / warmup);
      const { loss, gradientNorm } = trainStep(context, { ...batch, batchSize }, lr, losses.length === 0);
      firstNorm = gradientNorm ?? firstNorm;
      losses.push(loss);
      progress.advance(1, `loss ${loss.toFixed(3)}`);
      if (!Number.isFinite(loss) || loss < floor + near / 2) break;
    }
  } finally {
    progress.finish();
    optimizer.dispose();
    model.dispose();
  }
  const [first, last] = [losses[0]!, losses.at(-1)!];
  const chance = Math.log(batchSize);
  const tellsApart = floor <= chance / 2;
  const ok = tellsApart && last <= floor + near;
  if (!tellsApart) {
    findings.push({
      what: `Most of the batch is alike: the best that a model can reach is ${floor.toFixed(3)}, and guessing gives ${chance.toFixed(3)}.`,
      mend: "Look at the column of captions, and at the folder of images.",
    });
  } else if (!ok) findings.push(verdict({ losses, floor, firstNorm, peakLr: settings.peakLr }));
  return { ok, samples: batchSize, steps: losses.length, chance, floor, first, last, findings };
}

type Sizes = { batchSize: number; imageSize: number; contextLength: number };
type OverfitBatch = Pick<Batch, "images" | "tokens" | "tokenLength" | "ids" | "texts">;

/** The first batch of a run with these settings. */
async function firstBatch(recipe: Recipe, data: RunData, { batchSize, imageSize, contextLength }: Sizes): Promise<OverfitBatch> {
  const { captions, images, training } = recipe;
  const { samples, count } = await openData(recipe, data, process.cwd());
  if (count < batchSize) {
    throw new DataError(`${data.file}: ${count} samples, and the batch takes ${batchSize}.`, {
      mend: `Give --batch-size ${count} or less.`,
    });
  }
  const { choose, weights, fallback } = captions;
  const { scale, interpolation, exact: exactCrops = false } = images;
  const batches = openLoader({
    samples,
    batchSize,
    imageSize,
    contextLength,
    seed: training.seed,
    choose,
    weights,
    fallback,
    scale,
    interpolation,
    exactCrops,
    totalSteps: 1,
    ...(data.maximumSkipped === undefined ? {} : { maximumSkipped: data.maximumSkipped }),
  });
  try {
    for await (const batch of batches) return batch;
  } finally {
    await batches.close();
  }
  throw new DataError(`${data.file}: no batch could be made.`);
}

/** Pictures of random squares, each with words of its own: whatever goes wrong with these is no matter of data. */
function drawnBatch({ batchSize, imageSize, contextLength }: Sizes): OverfitBatch {
  const images = new Uint8Array(batchSize * imageSize * imageSize * 3);
  const cell = Math.max(1, imageSize / 4);
  const ids = Array.from({ length: batchSize }, (_, i) => `drawing ${i + 1}`);
  const texts = ids.map((id, i) => `${id} of ${["circles", "squares", "lines", "dots"][i % 4]!}`);
  for (let i = 0; i < batchSize; i++) {
    const random = Random.of("overfit", i);
    const colours = Array.from({ length: 16 * 3 }, () => random.integer(256));
    for (let y = 0; y < imageSize; y++) {
      for (let x = 0; x < imageSize; x++) {
        const square = Math.min(3, Math.floor(y / cell)) * 4 + Math.min(3, Math.floor(x / cell));
        images.set(colours.slice(3 * square, 3 * square + 3), ((i * imageSize + y) * imageSize + x) * 3);
      }
    }
  }
  const { ids: tokens, length: tokenLength } = ClipTokenizer.load().tokenizeBatch(texts, contextLength);
  return { images, tokens, tokenLength, ids, texts };
}

/** What the batch itself makes impossible, and the least loss it allows. */
function look({ images, tokens, tokenLength, ids, texts }: OverfitBatch): Pick<OverfitReport, "floor" | "findings"> {
  const count = ids.length;
  const bytes = images.byteLength / count;
  const rows = ids.map((_, i) => ({
    text: tokens.subarray(i * tokenLength, (i + 1) * tokenLength).join(" "),
    image: Buffer.from(images.buffer, images.byteOffset + i * bytes, bytes),
  }));
  const sameText = rows.map(({ text }) => rows.filter((other) => other.text === text).length);
  const sameImage = rows.map(({ image }) => rows.filter((other) => other.image.equals(image)).length);
  const plain = rows.filter(({ image }) => image.every((value, i) => value === image[i % 3])).length;
  const findings: OverfitReport["findings"] = [];
  const alike = (counts: readonly number[]): number => counts.filter((one) => one > 1).length;
  const example = (counts: readonly number[], of: readonly string[]): string => of[counts.findIndex((one) => one > 1)]!;
  if (alike(sameText) > 0) {
    findings.push({
      what: `${alike(sameText)} of ${count} texts are equal to another, for instance "${example(sameText, texts)}": nothing can tell them apart.`,
      mend: "Some are normal. When there are many, look at the column of captions, or at rewrites that repeat themselves.",
    });
  }
  if (alike(sameImage) > 0) {
    findings.push({
      what: `${alike(sameImage)} of ${count} images are equal to another, for instance that of ${example(sameImage, ids)}.`,
      mend: "`laclip inspect data` finds images that are there twice.",
    });
  }
  if (plain > 0) {
    findings.push({
      what: `${plain} of ${count} images are of one colour.`,
      mend: "Placeholders of a download, or crops of a frame? Look at some.",
    });
  }
  const floor = rows.reduce((sum, _, i) => sum + Math.log(Math.max(sameText[i]!, sameImage[i]!)), 0) / count;
  return { floor, findings };
}

interface Course {
  losses: readonly number[];
  floor: number;
  firstNorm: number;
  peakLr: number;
}

/** Why the batch was not learnt, by the course of the loss. */
function verdict({ losses, floor, firstNorm, peakLr }: Course): OverfitReport["findings"][number] {
  const [first, last] = [losses[0]!, losses.at(-1)!];
  if (!Number.isFinite(last)) {
    return {
      what: `The loss of step ${losses.length} is ${last}.`,
      mend: `Lower the learning rate: --set optimizer.peakLr=${(peakLr / 10).toPrecision(1)}.`,
    };
  }
  if (!(firstNorm > 0)) {
    return {
      what: "The gradient of the first step is zero: nothing can be learnt.",
      mend: "Are all images or all texts of the batch the same?",
    };
  }
  const fallen = (first - last) / (first - floor);
  if (fallen < 0.3) {
    return {
      what: `The loss hardly moves: ${first.toFixed(3)} at first, ${last.toFixed(3)} after ${losses.length} steps.`,
      mend: `The learning rate (${peakLr}) is too low or far too high: try --set optimizer.peakLr=1e-3, and ten times more or less.`,
    };
  }
  return {
    what: `The loss falls, from ${first.toFixed(3)} to ${last.toFixed(3)}, but not to ${floor.toFixed(3)} within ${losses.length} steps.`,
    mend: `More steps (--steps ${losses.length * 3}), another learning rate, or less weight decay; the nano model is too small to learn.`,
  };
}
