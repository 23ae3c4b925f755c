/**
 * A linear probe by stochastic gradient descent, for training sets of ImageNet's size, as MoCo and SLIP do it: momentum 0.9, no weight
 * decay, a learning rate of 0.1 for a batch of 256 that falls along half a cosine, 90 epochs, weights from a normal distribution of
 * deviation 0.01.
 *
 * The features are those of centre views: random crops would need the images in every epoch. SLIP's own batch is 128 a GPU, of how many is
 * not published; the rate is scaled with the batch as MoCo does it.
 *
 * Shapes: B batch, D features, K classes.
 */
import { DivergedError, InterruptedError, Progress, Random, UsageError } from "../../support/index.ts";
import { Tensor, noGrad, ops, scope, zeros } from "../../torch/index.ts";
import { LinearClassifier } from "./linear-classifier.ts";
import { type FeatureScaling, type LabelledFeatures } from "./softmax-objective.ts";
import { scalingOf } from "./feature-scaling.ts";

/** Numbers of the descent; `sgdSettings` holds the defaults. */
export interface SgdOptions {
  epochs?: number;
  batchSize?: number;
  /** For a batch of 256; others are scaled. */
  learningRate?: number;
  momentum?: number;
  weightDecay?: number;
  /** Decides the first weights and the order of the rows. */
  seed?: number;
  /** Features divided by their deviation. */
  standardise?: boolean;
  /** Stops between two steps. */
  signal?: AbortSignal | undefined;
}

/** The numbers of a descent, with those of MoCo and SLIP for what is left open. */
export function sgdSettings(options: SgdOptions = {}): Required<Omit<SgdOptions, "signal">> {
  const { epochs = 90, batchSize = 256, learningRate = 0.1, momentum = 0.9, weightDecay = 0, seed = 0, standardise = false } = options;
  return { epochs, batchSize, learningRate, momentum, weightDecay, seed, standardise };
}

/** Steps between which the process hears nothing. */
const stepsAtOnce = 64;

/**
 * Fits a classifier to features.
 * @throws DivergedError when the loss is not finite; UsageError for a batch or a number of epochs below 1; InterruptedError when stopped
 */
export async function sgdProbe(
  { features, labels }: LabelledFeatures,
  classes: number,
  options: SgdOptions = {},
): Promise<LinearClassifier> {
  const { epochs, batchSize, learningRate, momentum, weightDecay, seed, standardise } = sgdSettings(options);
  if (epochs < 1 || batchSize < 1) throw new UsageError(`${epochs} epochs of batches of ${batchSize}: expected at least 1 of both.`);
  const [rows, width] = features.shape as [number, number];
  const device = features.device;
  const scaling = scope(() => scalingOf(features, standardise));
  const { mean, scale } = scope(() => ({ mean: scaling.mean.to("float32").keep(), scale: scaling.scale.to("float32").keep() }));
  const parameters = scope(() => {
    const random = Random.of(seed, "probe weights");
    const values = Float32Array.from({ length: (width + 1) * classes }, (_, i) => (i < width * classes ? 0.01 * normal(random) : 0));
    return Tensor.from(values, [width + 1, classes], { device }).keep();
  });
  const velocity = zeros([width + 1, classes], { device }).keep();
  const stepsOfEpoch = Math.ceil(rows / batchSize);
  const progress = new Progress({ label: "probe", total: epochs, unit: "epochs" });
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = Random.of(seed, "probe order", epoch).permutation(rows);
      let loss = 0;
      for (let step = 0; step < stepsOfEpoch; step++) {
        if ((epoch * stepsOfEpoch + step) % stepsAtOnce === 0) await new Promise((resolve) => setImmediate(resolve));
        if (options.signal?.aborted) {
          throw new InterruptedError(`Stopped in epoch ${epoch + 1} of ${epochs}.`, {
            mend: "Start the same command again: it begins with the first epoch.",
          });
        }
        const own = BigInt64Array.from(order.subarray(step * batchSize, (step + 1) * batchSize), BigInt);
        const share = (epoch * stepsOfEpoch + step) / (epochs * stepsOfEpoch);
        const rate = (learningRate * batchSize * (1 + Math.cos(Math.PI * share))) / 512;
        loss = noGrad(() =>
          scope(() => {
            const x_BD = features
              .indexSelect(0, Tensor.from(own, [own.length], { device }))
              .sub(mean)
              .div(scale);
            const labels_B1 = Tensor.from(
              Int32Array.from(own, (row) => labels[Number(row)]!),
              [own.length, 1],
              { device },
            ).to("int64");
            const logits_BK = ops.addmm(parameters.select(0, width), x_BD, parameters.slice(0, 0, width));
            const logs_BK = logits_BK.logSoftmax(1);
            const value = -ops.gather(logs_BK, 1, labels_B1).mean().item();
            const residual_BK = ops.exp_(logs_BK);
            ops.scatterAdd_(residual_BK, 1, labels_B1, ops.onesLike(labels_B1, "float32").neg());
            residual_BK.div_(own.length);
            velocity.mul_(momentum);
            velocity
              .slice(0, 0, width)
              .add_(x_BD.t().matmul(residual_BK))
              .add_(parameters.slice(0, 0, width), weightDecay);
            velocity.select(0, width).add_(residual_BK.sum(0));
            parameters.add_(velocity, -rate);
            return value;
          }),
        );
      }
      if (!Number.isFinite(loss)) {
        throw new DivergedError(`The probe's loss is ${loss} after epoch ${epoch + 1}.`, {
          mend: "Standardise the features (--standardise), or take a smaller rate.",
        });
      }
      progress.advance(1, `loss ${loss.toFixed(3)}`);
    }
    const folded: FeatureScaling = { mean, scale };
    return LinearClassifier.fromScaled(parameters, folded);
  } finally {
    progress.finish();
    for (const tensor of [parameters, velocity, mean, scale, scaling.mean, scaling.scale]) tensor.dispose();
  }
}

/** A draw from the standard normal distribution (Box and Muller). */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}
