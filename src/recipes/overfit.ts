/**
 * One batch, trained on again and again, must be learnt by heart. Where it is not, data or settings are broken, and a long run would
 * have found out late.
 *
 * The objective is the recipe's own. Its loss can't fall below what equal captions or equal images in the batch leave undecided, nor below
 * what the objective itself leaves: see least-loss.ts.
 */
import { Clip, type Preprocessing } from "../models/index.ts";
import type { Objective } from "../objectives/index.ts";
import { AdamW } from "../optim/index.ts";
import { Progress } from "../support/index.ts";
import { Tensor, arange, scope } from "../torch/index.ts";
import { decayGroups, trainStep } from "../training/index.ts";
import { type Likeness, leastLoss } from "./least-loss.ts";
import type { RunData } from "./open-data.ts";
import { type OverfitBatch, drawnBatch, firstBatch, lookAt } from "./overfit-batch.ts";
import type { Recipe } from "./recipe.ts";
import { deviceOf, objectiveOf, preparePrecision, scalerOf, shapeOf } from "./run-recipe.ts";

/** What `overfit` learns by heart. */
export interface OverfitOptions {
  recipe: Recipe;
  /** Default: pictures that are drawn on the spot. */
  data?: RunData | undefined;
  /** Samples of the batch. Default 16. */
  batchSize?: number | undefined;
  /** Steps at most. Default 300. */
  steps?: number | undefined;
  /** Default: as the recipe says. */
  device?: string | undefined;
}

/** Whether the batch was learnt, and what stood in the way. */
export interface OverfitReport {
  /** The batch was learnt by heart, as far as it can be. */
  ok: boolean;
  /** Name of the objective. */
  objective: string;
  samples: number;
  steps: number;
  /** Loss of a model that guesses; ln(samples) for CLIP's. */
  chance: number;
  /** Least loss that batch and objective allow. */
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
  const { recipe, batchSize = 16, steps = 300 } = options;
  const device = options.device ?? deviceOf(recipe);
  const { images, optimizer: settings, training } = recipe;
  preparePrecision(recipe, device);
  const objective = objectiveOf(recipe);
  const shape = shapeOf(recipe);
  const kind = { recipe, objective, shape, batchSize };
  const batch = options.data === undefined ? drawnBatch(kind) : await firstBatch(kind, options.data);
  const preprocessing: Preprocessing = { mean: images.mean, std: images.std, interpolation: images.interpolation };
  const { likeness, findings } = lookAt(batch);
  const { floor, chance } = limits(objective, batch, likeness);
  const model = new Clip(shape, { seed: training.seed }).moveTo(device);
  const optimizer = new AdamW(decayGroups(model, settings.weightDecay), { betas: settings.betas, eps: settings.eps });
  const { precision } = training;
  const context = { model, preprocessing, objective, optimizer, precision, scaler: scalerOf(recipe), device };
  const warmup = Math.max(1, Math.round(steps / 10));
  const progress = new Progress({ label: "overfit", total: steps, unit: "steps" });
  const losses: number[] = [];
  let firstNorm = 0;
  try {
    while (losses.length < steps) {
      const lr = settings.peakLr * Math.min(1, (losses.length + 1) / warmup);
      const { loss, gradientNorm } = trainStep(context, { ...batch, batchSize }, lr, { measureGradient: losses.length === 0 });
      if (losses.length === 0) firstNorm = gradientNorm!;
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
  const tellsApart = floor <= chance / 2;
  const ok = tellsApart && last <= floor + near;
  if (!tellsApart) {
    findings.push({
      what: `Most of the batch is alike: the best that a model can reach is ${floor.toFixed(3)}, and guessing gives ${chance.toFixed(3)}.`,
      mend: "Look at the column of captions, and at the folder of images.",
    });
  } else if (!ok) findings.push(verdict({ losses, floor, firstNorm, peakLr: settings.peakLr }));
  return { ok, objective: objective.name, samples: batchSize, steps: losses.length, chance, floor, first, last, findings };
}
/** The least loss that batch and objective allow, and that of a model to which all images and all texts look the same. */
function limits(
  objective: Objective,
  { textsPerImage, textKeys, textWeights, texts }: OverfitBatch,
  likeness: Likeness,
): Pick<OverfitReport, "floor" | "chance"> {
  return scope(() => {
    const rows = [texts.length];
    const facts = { textsPerImage, textWeights: textWeights && Tensor.from(textWeights, rows) };
    const same = (numbers: readonly number[]): number[] => numbers.map(() => 0);
    const blind = { images: same(likeness.images), texts: same(likeness.texts), views: likeness.views && same(likeness.views) };
    return {
      floor: leastLoss(objective, likeness, { ...facts, textKeys: textKeys && Tensor.from(textKeys, rows) }),
      // Where equal captions are masked, guessing is measured as if none were: else there might be nothing left to guess.
      chance: leastLoss(objective, blind, { ...facts, textKeys: textKeys && arange(0, texts.length) }),
    };
  });
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
  if (firstNorm === 0) {
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
