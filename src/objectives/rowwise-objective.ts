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
import { Tensor, scope } from "../torch/index.ts";
import { type Sharpness, weightsAsSeen } from "./adaptive-weights.ts";
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

/** Base of losses over rows of similarities: `forward` takes them at once, `backwardByRows` block by block. */
export abstract class RowwiseObjective implements Objective {
  abstract readonly name: string;
  readonly needs: ObjectiveNeeds = {};
  /** Whether pairs and samples that look wrong to the model count less. Default: all count alike. */
  readonly sharpness: Sharpness = {};
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
    if (input.textWeights !== undefined) assertShape("textWeights", input.textWeights, [rows]);
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
    const given_BK = input.textWeights?.reshape(batch, texts);
    const seen_BK = weightsAsSeen(images_BD, texts_BKD, this.sharpness, group);
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
      pairWeights_BK: given_BK && seen_BK ? given_BK.mul(seen_BK) : (given_BK ?? seen_BK),
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
    assertShape(what, value, shape);
  }
}

function assertShape(what: string, value: Tensor, shape: readonly number[]): void {
  if (value.shape.join() === shape.join()) return;
  throw new UsageError(`${what}: expected [${shape.join(", ")}], got [${value.shape.join(", ")}].`);
}

function missing(objective: string, what: string): UsageError {
  return new UsageError(`The objective "${objective}" needs ${what}, and there are none.`);
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
