/**
 * A step's gradients, the plain way or in the memory of a part of the batch (GradCache: Gao et al. 2021, "Scaling Deep Contrastive
 * Learning Batch Size under Memory Limited Setup").
 *
 * A contrastive loss needs the features of the whole batch, but the towers need no more than the loss's gradient at these features. So
 * all features are computed once without gradient, micro-batch by micro-batch; the loss gives the gradient at each of them, in blocks of
 * as many rows; then each micro-batch passes through the towers again, and its part of that gradient back through them. The sums are
 * those of the whole batch: negatives are never lost, unlike when losses of small batches are added up. The price is one more forward
 * pass. The towers meet in the loss alone, so each goes forth and back by itself, and what both remember is never there at once.
 *
 * Images are dealt to micro-batches by the length of their texts, so that attention has little to fill up (bench/length-groups.bench.ts).
 * Which text is where changes nothing but rounding: features go back to their places before the loss sees them.
 *
 * The view head stands between features and loss, and sees the whole batch at once: its batch normalisation is that of the whole batch.
 *
 * With several processes each has its own micro-batches, and the gradients are exchanged once, with the passes that complete them.
 */
import { type Tower, learns } from "../models/index.ts";
import { UsageError } from "../support/index.ts";
import type { LossReport, ObjectiveInput } from "../objectives/index.ts";
import { Tensor, cat, noGrad, randomState, scope, setRandomState } from "../torch/index.ts";
import type { StepContext, StepInput } from "./step.ts";
import { type TowerFeatures, featuresOf, inPrecision, textLengths, towerFeatures } from "./tower-features.ts";

/**
 * Loss of the batch; its gradients are added to the parameters. The device need not be waited for.
 * @returns loss and measures of this process, without gradient
 */
export function backwardWhole(context: StepContext, input: StepInput): LossReport {
  return scope(() => {
    const features = towerFeatures(context, input);
    const report = context.objective.forward(objectiveInput(context, input, features));
    context.ranks?.arm();
    scaled(context, input, report.loss).backward();
    context.ranks?.finish();
    return withoutGradient(report);
  });
}

const towers = ["image", "text"] as const;

/** A tower's first pass over a micro-batch, without gradient. */
interface Pass {
  tower: Tower;
  /** Of the generator, before it: what is drawn at random in a tower must be the same both times. */
  state: Tensor;
  /** In float32. */
  features: Partial<TowerFeatures>;
}

/**
 * The same loss and gradients, with the activations of at most `microBatch` images or their texts in memory at a time: one tower goes forth
 * and back before the other begins.
 */
export function backwardCached(context: StepContext, input: StepInput, microBatch: number): LossReport {
  if (!(microBatch >= 1)) throw new UsageError(`A micro-batch must have at least 1 image, got ${microBatch}.`);
  return scope(() => {
    const { device, model, ranks } = context;
    const deal = dealByLength(input, microBatch);
    const passes = deal.map((members) =>
      towers.map((tower): Pass => {
        const state = randomState(device);
        const features = noGrad(() => scope(() => mapFeatures((x) => x.to("float32"), featuresOf(context, input, [tower], members))));
        return { tower, state, features };
      }),
    );
    const after = randomState(device);

    const dealt = deal.flat();
    const places = dealt.map((_, image) => image).toSorted((a, b) => dealt[a]! - dealt[b]!);
    const leavesOf = (tower: Tower): Partial<TowerFeatures> => {
      const [first, ...others] = passes.flat().flatMap((pass) => (pass.tower === tower ? [pass.features] : []));
      return mapFeatures((...rows) => scope(() => select(cat(rows), places).setRequiresGrad()), first!, ...others);
    };
    const leaves = { ...leavesOf("image"), ...leavesOf("text") } as TowerFeatures;
    for (const { features } of passes.flat()) mapFeatures((x) => (x.dispose(), x), features);

    const report = context.objective.backwardByRows(objectiveInput(context, input, leaves), microBatch, context.scaler?.scale);
    const gradients = mapFeatures((leaf) => leaf.grad!, leaves);
    for (const [i, members] of deal.entries()) {
      if (i === deal.length - 1) ranks?.arm();
      // In the order of a backward pass through both.
      for (const { tower, state } of passes[i]!.toReversed()) {
        // One that is frozen as a whole need not be passed through again.
        if (!learns(model, tower)) continue;
        scope(() => {
          setRandomState(state, device);
          const features = featuresOf(context, input, [tower], members);
          const products: Tensor[] = [];
          mapFeatures(
            (feature, gradient) => {
              products.push(feature.mul(select(gradient, members, gradient.sizeOf(0) / input.batchSize)).sum());
              return feature;
            },
            features,
            gradients,
          );
          products.reduce((a, b) => a.add(b)).backward();
        });
      }
    }
    setRandomState(after, device);
    ranks?.finish();
    return withoutGradient(report);
  });
}

/** Places of images in the batch, micro-batch by micro-batch: those with the shortest texts first. */
function dealByLength({ batchSize, tokens, tokenLength, textsPerImage = 1 }: StepInput, microBatch: number): number[][] {
  const lengths = textLengths(tokens, tokenLength);
  const longest = Array.from({ length: batchSize }, (_, i) => Math.max(...lengths.slice(i * textsPerImage, (i + 1) * textsPerImage)));
  const order = longest.map((_, image) => image).toSorted((a, b) => longest[a]! - longest[b]! || a - b);
  return Array.from({ length: Math.ceil(batchSize / microBatch) }, (_, i) => order.slice(i * microBatch, (i + 1) * microBatch));
}

/** The rows of some images. @param each rows of an image; default as many as there are for each of them */
function select(rows: Tensor, images: readonly number[], each = rows.sizeOf(0) / images.length): Tensor {
  const places = BigInt64Array.from({ length: images.length * each }, (_, i) => BigInt(images[Math.floor(i / each)]! * each + (i % each)));
  return rows.indexSelect(0, Tensor.from(places, [places.length], { device: rows.device }));
}

function scaled({ scaler }: StepContext, { there }: StepInput, loss: Tensor): Tensor {
  return scaler === undefined ? loss : loss.mul(there?.lossScale ?? scaler.scale);
}

function withoutGradient({ loss, metrics }: LossReport): LossReport {
  return { loss: loss.detach(), metrics };
}

function objectiveInput(context: StepContext, input: StepInput, features: TowerFeatures): ObjectiveInput {
  const { model, precision, device, group } = context;
  const { batchSize, textsPerImage = 1, textKeys, textWeights, there } = input;
  const { viewHead } = model;
  const { firstViews, secondViews } = features;
  const texts = [batchSize * textsPerImage];
  return {
    imageFeatures: features.images,
    textFeatures: features.texts,
    textsPerImage,
    logitScale: model.logitScale.exp(),
    logitBias: model.logitBias,
    textKeys: there?.textKeys ?? (textKeys && Tensor.from(textKeys, texts, { device })),
    textWeights: there?.textWeights ?? (textWeights && Tensor.from(textWeights, texts, { device })),
    viewFeatures:
      viewHead && firstViews && secondViews
        ? inPrecision(precision, device, () => cat([firstViews, secondViews].map((views) => viewHead.forward(views, group))))
        : undefined,
  };
}

/** `change` of the features of each kind, those that the first has. */
function mapFeatures<F extends Partial<TowerFeatures>>(
  change: (...of: Tensor[]) => Tensor,
  first: F,
  ...others: Partial<TowerFeatures>[]
): F {
  const all = [first, ...others];
  const kinds = Object.keys(first) as (keyof TowerFeatures)[];
  return Object.fromEntries(kinds.map((kind) => [kind, change(...all.map((features) => features[kind]!))])) as unknown as F;
}
