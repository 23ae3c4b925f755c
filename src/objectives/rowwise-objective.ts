/**
 * Losses that are sums over rows: each row of a matrix of similarities has its own softmax or its own sigmoids.
 *
 * A subclass says how the loss of some rows is made. Taken all at once this is the plain loss; taken block by block, each block with its
 * own backward pass, the matrix is never there as a whole, and loss and gradients are the same sums. What blocks share (features of
 * length 1, those of other ranks) is made once; the blocks leave their gradients there, and one last pass takes them to the input.
 *
 * Shapes: B own images, K texts of each, G images of all ranks, D joint width, E width of the features for SimCLR's loss.
 */
import { type FeatureGroup, alone, unitRows } from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { Tensor, noGrad, scope } from "../torch/index.ts";
import type { LossReport, Objective, ObjectiveInput, ObjectiveNeeds } from "./objective.ts";

/** What the blocks of a loss share. All features have length 1. */
export interface SharedFeatures {
  /** B, and K. */
  batch: number;
  texts: number;
  /** Place of the first own image among those of all ranks. */
  first: number;
  images_BD: Tensor;
  texts_BKD: Tensor;
  images_GD: Tensor;
  texts_GKD: Tensor;
  logitScale: Tensor;
  logitBias: Tensor | undefined;
  /** `[B, K]`, how much each pair counts; undefined where all count 1. */
  pairWeights_BK: Tensor | undefined;
  keys_BK: Tensor | undefined;
  keys_GK: Tensor | undefined;
  /** Own first and second views, and those of all ranks. */
  firstViews_BE: Tensor | undefined;
  secondViews_BE: Tensor | undefined;
  firstViews_GE: Tensor | undefined;
  secondViews_GE: Tensor | undefined;
}

/** Makes the loss of some rows; those of all blocks add up to the report. */
export type LossPart = () => LossReport;

/** Cuts `count` rows into blocks of at most `rows`. */
export function* blocks(count: number, rows: number): Generator<[from: number, to: number]> {
  for (let from = 0; from < count; from += rows) yield [from, Math.min(count, from + rows)];
}

export abstract class RowwiseObjective implements Objective {
  abstract readonly name: string;
  readonly needs: ObjectiveNeeds = {};
  /** With it, pairs that fit worse than the batch's mean count less, see `fitWeights`. Default: all count alike. */
  readonly fitSharpness: number | undefined = undefined;
  readonly #group: FeatureGroup;

  /** @param group those whose features are in the same batch; default this process alone */
  constructor(group: FeatureGroup = alone) {
    this.#group = group;
  }

  /** The loss in parts of at most `rows` rows of a matrix of similarities. */
  protected abstract parts(shared: SharedFeatures, rows: number): Iterable<LossPart>;

  forward(input: ObjectiveInput): LossReport {
    return scope(() => {
      const reports = [...this.parts(this.#share(input), Infinity)].map((part) => part());
      return reports.reduce(sum);
    });
  }

  backwardByRows(input: ObjectiveInput, rows: number, scale = 1): LossReport {
    if (!(rows >= 1)) throw new UsageError(`Rows of a part of the loss must be at least 1, got ${rows}.`);
    return scope(() => {
      const { shared, back } = onLeaves(this.#share(input));
      let total: LossReport | undefined;
      for (const part of this.parts(shared, rows)) {
        total = scope(() => {
          const { loss, metrics } = part();
          (scale === 1 ? loss : loss.mul(scale)).backward();
          const report = { loss: loss.detach(), metrics };
          return total === undefined ? report : sum(total, report);
        });
      }
      back();
      return total!;
    });
  }

  #share(input: ObjectiveInput): SharedFeatures {
    const { textsPerImage: texts = 1, logitScale, logitBias, textKeys, viewFeatures } = input;
    const group = this.#group;
    const batch = input.imageFeatures.sizeOf(0);
    const rows = input.textFeatures.sizeOf(0);
    if (rows !== batch * texts) {
      throw new UsageError(`${batch} images with ${texts} texts each need ${batch * texts} text features, got ${rows}.`);
    }
    this.#check("textKeys", textKeys, [rows]);
    this.#check("logitBias", logitBias, []);
    if (texts > 1 && this.needs.oneText) {
      throw new UsageError(`The objective "${this.name}" takes one text for each image, got ${texts}.`, {
        mend: "--set captions.textsPerImage=1, or an objective for several texts: --set objective.name=multi-text.",
      });
    }
    if (this.needs.views) {
      if (viewFeatures === undefined) throw missing(this.name, "viewFeatures");
      if (viewFeatures.sizeOf(0) !== 2 * batch)
        throw new UsageError(`${batch} images have ${2 * batch} further views, got features of ${viewFeatures.sizeOf(0)}.`);
    }
    const images_BD = unitRows(input.imageFeatures);
    const texts_BKD = unitRows(input.textFeatures).reshape(batch, texts, -1);
    const given_BK = pairWeights(input, batch, texts);
    const fit_BK = this.fitSharpness === undefined ? undefined : fitWeights(images_BD, texts_BKD, this.fitSharpness, group);
    const keys_BK = this.needs.textKeys ? textKeys?.reshape(batch, texts) : undefined;
    const views = this.needs.views ? unitRows(viewFeatures!) : undefined;
    const firstViews_BE = views?.slice(0, 0, batch);
    const secondViews_BE = views?.slice(0, batch);
    const gather = (own: Tensor | undefined): Tensor | undefined => own && group.gather(own);
    return {
      batch,
      texts,
      first: group.rank * batch,
      images_BD,
      texts_BKD,
      images_GD: group.gather(images_BD),
      texts_GKD: group.gather(texts_BKD),
      logitScale,
      logitBias: this.needs.logitBias ? logitBias : undefined,
      pairWeights_BK: given_BK && fit_BK ? given_BK.mul(fit_BK) : (given_BK ?? fit_BK),
      keys_BK,
      keys_GK: gather(keys_BK),
      firstViews_BE,
      secondViews_BE,
      firstViews_GE: gather(firstViews_BE),
      secondViews_GE: gather(secondViews_BE),
    };
  }

  #check(what: "textKeys" | "logitBias", value: Tensor | undefined, shape: readonly number[]): void {
    if (!this.needs[what]) return;
    if (value === undefined) throw missing(this.name, what);
    if (value.shape.join() !== shape.join())
      throw new UsageError(`${what}: expected [${shape.join(", ")}], got [${value.shape.join(", ")}].`);
  }
}

function missing(objective: string, what: string): UsageError {
  return new UsageError(`The objective "${objective}" needs ${what}, and there are none.`);
}

function pairWeights({ sampleWeights, textWeights }: ObjectiveInput, batch: number, texts: number): Tensor | undefined {
  const ofTexts = textWeights?.reshape(batch, texts);
  if (sampleWeights === undefined) return ofTexts;
  const ofSamples = sampleWeights.reshape(batch, 1);
  return ofTexts === undefined ? ofSamples.expand(batch, texts) : ofTexts.mul(ofSamples);
}

/**
 * How much pairs count by how well they fit, as the model sees it now: exp(sharpness x (similarity - mean)), 1 for those above the mean
 * (in the manner of ALIP, Yang et al. 2023). The mean is that of the present batch of all ranks, not one that runs along: a run's state
 * stays weights and moments. No gradient passes. float32 `[B, K]`.
 */
function fitWeights(images_BD: Tensor, texts_BKD: Tensor, sharpness: number, group: FeatureGroup): Tensor {
  return noGrad(() =>
    scope(() => {
      const similarities_BK = images_BD.detach().unsqueeze(1).mul(texts_BKD.detach()).sum(-1);
      const mean = group.gather(similarities_BK.mean().reshape(1)).mean();
      const below = similarities_BK.sub(mean).clamp(null, 0);
      return below.mul(sharpness).exp();
    }),
  );
}

function sum(a: LossReport, b: LossReport): LossReport {
  const metrics = { ...a.metrics };
  for (const [name, value] of Object.entries(b.metrics)) metrics[name] = metrics[name]?.add(value) ?? value;
  return { loss: a.loss.add(b.loss), metrics };
}

/** The same values as leaves of their own; `back` takes the gradients that these have got to where the values came from. */
function onLeaves(shared: SharedFeatures): { shared: SharedFeatures; back: () => void } {
  const leaves = new Map<Tensor, Tensor>();
  const leafOf = (value: unknown): unknown => {
    if (!(value instanceof Tensor) || !value.requiresGrad) return value;
    if (!leaves.has(value)) leaves.set(value, value.detach().setRequiresGrad());
    return leaves.get(value)!;
  };
  const swapped = Object.fromEntries(Object.entries(shared).map(([name, value]) => [name, leafOf(value)]));
  const back = (): void =>
    scope(() => {
      const products = [...leaves].flatMap(([source, { grad }]) => (grad === undefined ? [] : [source.mul(grad).sum()]));
      if (products.length > 0) products.reduce((a, b) => a.add(b)).backward();
    });
  return { shared: swapped as unknown as SharedFeatures, back };
}
