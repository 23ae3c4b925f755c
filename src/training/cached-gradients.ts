/**
 * A step's gradients, the plain way or in the memory of a part of the batch (GradCache: Gao et al. 2021, "Scaling Deep Contrastive
 * Learning Batch Size under Memory Limited Setup").
 *
 * A contrastive loss needs the features of the whole batch, but the towers need no more than the loss's gradient at these features. So
 * all features are computed once without gradient, micro-batch by micro-batch; the loss gives the gradient at each of them, in blocks of
 * as many rows; then each micro-batch passes through the towers again, and its part of that gradient back through them. The sums are
 * those of the whole batch: negatives are never lost, unlike when losses of small batches are added up. The price is one more forward
 * pass.
 *
 * The view head stands between features and loss, and sees the whole batch at once: its batch normalisation is that of the whole batch.
 *
 * With several processes each has its own micro-batches, and the gradients are exchanged once, with the pass that completes them.
 */
import { UsageError } from "../support/index.ts";
import type { LossReport, ObjectiveInput } from "../objectives/index.ts";
import { Tensor, cat, noGrad, randomState, scope, setRandomState } from "../torch/index.ts";
import type { StepContext, StepInput } from "./step.ts";
import { type TowerFeatures, inPrecision, towerFeatures } from "./tower-features.ts";

/** A loss and its measures as numbers: with several processes, the means over them. */
export interface MeasuredLoss {
  loss: number;
  metrics: Record<string, number>;
}

/** Loss of the batch; its gradients are added to the parameters. */
export function backwardWhole(context: StepContext, input: StepInput): MeasuredLoss {
  return scope(() => {
    const features = towerFeatures(context, input, 0, input.batchSize);
    const report = context.objective.forward(objectiveInput(context, input, features));
    context.ranks?.arm();
    scaled(context, report.loss).backward();
    context.ranks?.finish();
    return measure(context, report);
  });
}

/**
 * The same loss and gradients, with the activations of at most `microBatch` images and their texts in memory at a time.
 * Of a loss that is not finite no gradients reach the towers.
 */
export function backwardCached(context: StepContext, input: StepInput, microBatch: number): MeasuredLoss {
  if (!(microBatch >= 1)) throw new UsageError(`A micro-batch must have at least 1 image, got ${microBatch}.`);
  return scope(() => {
    const spans: [from: number, to: number][] = [];
    for (let from = 0; from < input.batchSize; from += microBatch) spans.push([from, Math.min(input.batchSize, from + microBatch)]);
    // What is drawn at random in a tower must be the same both times.
    const states: Tensor[] = [];
    const parts = spans.map(([from, to]) => {
      states.push(randomState());
      return noGrad(() => scope(() => mapFeatures((x) => x.to("float32"), towerFeatures(context, input, from, to))));
    });
    const leaves = mapFeatures((...rows) => cat(rows).setRequiresGrad(), ...parts);
    for (const part of parts) mapFeatures((x) => (x.dispose(), x), part);

    const { ranks } = context;
    const measured = measure(
      context,
      context.objective.backwardByRows(objectiveInput(context, input, leaves), microBatch, context.scaler?.scale),
    );
    // The mean decides, so that no rank waits for another that has stopped here.
    if (!Number.isFinite(measured.loss)) {
      ranks?.arm();
      ranks?.finish();
      return measured;
    }

    const gradients = mapFeatures((leaf) => leaf.grad!, leaves);
    spans.forEach(([from, to], i) => {
      scope(() => {
        setRandomState(states[i]!);
        const features = towerFeatures(context, input, from, to);
        const products: Tensor[] = [];
        mapFeatures(
          (feature, gradient) => {
            const each = gradient.sizeOf(0) / input.batchSize;
            products.push(feature.mul(gradient.slice(0, from * each, to * each)).sum());
            return feature;
          },
          features,
          gradients,
        );
        const product = products.reduce((a, b) => a.add(b));
        if (i === spans.length - 1) ranks?.arm();
        product.backward();
      });
    });
    ranks?.finish();
    return measured;
  });
}

function scaled({ scaler }: StepContext, loss: Tensor): Tensor {
  return scaler === undefined ? loss : loss.mul(scaler.scale);
}

function measure({ ranks }: StepContext, { loss, metrics }: LossReport): MeasuredLoss {
  const own = [loss, ...Object.values(metrics)].map((value) => value.item());
  const [meanLoss, ...measured] = ranks?.means(own) ?? own;
  return { loss: meanLoss!, metrics: Object.fromEntries(Object.keys(metrics).map((name, i) => [name, measured[i]!])) };
}

function objectiveInput(context: StepContext, input: StepInput, features: TowerFeatures): ObjectiveInput {
  const { model, precision, device, group } = context;
  const { batchSize, textsPerImage = 1, textKeys, textWeights } = input;
  const { viewHead } = model;
  const { firstViews, secondViews } = features;
  const texts = [batchSize * textsPerImage];
  return {
    imageFeatures: features.images,
    textFeatures: features.texts,
    textsPerImage,
    logitScale: model.logitScale.exp(),
    logitBias: model.logitBias,
    textKeys: textKeys && Tensor.from(textKeys, texts, { device }),
    textWeights: textWeights && Tensor.from(textWeights, texts, { device }),
    viewFeatures:
      viewHead && firstViews && secondViews
        ? inPrecision(precision, device, () => cat([firstViews, secondViews].map((views) => viewHead.forward(views, group))))
        : undefined,
  };
}

/** `change` of the features of each kind, those that the first has. */
function mapFeatures(change: (...of: Tensor[]) => Tensor, ...all: TowerFeatures[]): TowerFeatures {
  const kinds = Object.keys(all[0]!) as (keyof TowerFeatures)[];
  return Object.fromEntries(kinds.map((kind) => [kind, change(...all.map((features) => features[kind]!))])) as unknown as TowerFeatures;
}
