/**
 * The least loss that a batch allows, whatever the model is: found with features that are free but for one thing, that equal images have
 * equal ones, and so have equal texts.
 *
 * It takes the objective as it is, and so needs no formula for each of them. What it finds is as near to the least as a few hundred steps
 * come; of losses whose targets follow the features, it is where training leads.
 */
import type { Objective, ObjectiveInput } from "../objectives/index.ts";
import { AdamW } from "../optim/index.ts";
import { Tensor, full, manualSeed, noGrad, ones, randn, randomState, scope, setRandomState } from "../torch/index.ts";

/** Which rows of a batch are equal: those with the same number. */
export interface Likeness {
  /** `[B]` */
  images: readonly number[];
  /** `[B x K]` */
  texts: readonly number[];
  /** `[2 x B]`, the first views of all images, then the second ones; for objectives that compare views */
  views?: readonly number[] | undefined;
}

/** What else the loss depends on; see `ObjectiveInput`. */
export type BatchFacts = Pick<ObjectiveInput, "textsPerImage" | "textKeys" | "textWeights">;

const steps = 300;
/** The range of the logarithm of the factor on similarities, as in training, and where it begins. */
const [lowest, highest, start] = [0, 4.6052, 3.4];

/** @param likeness rows that no model can tell apart have the same number */
export function leastLoss(objective: Objective, likeness: Likeness, facts: BatchFacts): number {
  const before = randomState();
  try {
    manualSeed(1);
    return scope(() => descend(objective, likeness, facts));
  } finally {
    setRandomState(before);
    before.dispose();
  }
}

function descend(objective: Objective, { images, texts, views }: Likeness, facts: BatchFacts): number {
  // As many directions as there are rows: then all can be as far from each other as they like.
  const width = Math.max(16, texts.length, views?.length ?? 0);
  const table = (rows: readonly number[]): { free: Tensor; take: () => Tensor } => {
    const groups = [...new Set(rows)];
    const places = Tensor.from(
      BigInt64Array.from(rows, (row) => BigInt(groups.indexOf(row))),
      [rows.length],
    );
    const free = randn([groups.length, width]).setRequiresGrad();
    return { free, take: () => free.indexSelect(0, places) };
  };
  const [ofImages, ofTexts, ofViews] = [table(images), table(texts), views && table(views)];
  const scale = full([], start).setRequiresGrad();
  // In tens: a bias goes further than features do.
  const bias = ones([]).neg().setRequiresGrad();
  const parameters = new Map([
    ["images", ofImages.free],
    ["texts", ofTexts.free],
    ...(ofViews ? [["views", ofViews.free] as const] : []),
    ["scale", scale],
    ["bias", bias],
  ]);
  const optimizer = new AdamW([{ parameters, weightDecay: 0 }], { betas: [0.9, 0.98], eps: 1e-8 });
  let least = Infinity;
  try {
    for (let step = 0; step < steps; step++) {
      scope(() => {
        const { loss } = objective.forward({
          ...facts,
          imageFeatures: ofImages.take(),
          textFeatures: ofTexts.take(),
          viewFeatures: ofViews?.take(),
          logitScale: scale.exp(),
          logitBias: objective.needs.logitBias === true ? bias.mul(10) : undefined,
        });
        least = Math.min(least, loss.item());
        loss.backward();
        optimizer.step(0.2 * (1 - step / steps));
        for (const parameter of parameters.values()) parameter.grad = undefined;
        noGrad(() => scale.clamp_(lowest, highest));
      });
    }
  } finally {
    optimizer.dispose();
  }
  return least;
}
