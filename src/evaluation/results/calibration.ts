/**
 * Whether a model is right as often as it says: the expected calibration error over bins of equal width (Naeini et al. 2015; Guo et al.
 * 2017), with the confidence that the softmax has at the model's own temperature.
 */
import type { ClassifiedItem } from "./outcomes.ts";

/** Images whose confidence lies in `(from, to]`. */
export interface ReliabilityBin {
  from: number;
  to: number;
  images: number;
  /** Mean confidence of these images, and the share that is right, 0..1; 0 in a bin without images. */
  confidence: number;
  accuracy: number;
}

/** How far confidence and accuracy lie apart, in bins and as a whole. */
export interface Calibration {
  bins: ReliabilityBin[];
  /** Mean over images of the distance between confidence and accuracy of their bin, 0..1. */
  expectedError: number;
  /** The largest such distance of a bin, 0..1. */
  largestError: number;
  /** Mean confidence less accuracy: above 0 the model is surer than it should be. */
  overconfidence: number;
  /** Mean of -ln of the probability of the right class. */
  logLoss: number;
}

/** @param count number of bins. Default 15, as is usual. */
export function calibration(items: readonly ClassifiedItem[], count = 15): Calibration {
  const sums = Array.from({ length: count }, () => ({ images: 0, confidence: 0, right: 0 }));
  let logLoss = 0;
  for (const { confidence, probability, guesses, label } of items) {
    const bin = sums[Math.min(count - 1, Math.max(0, Math.ceil(confidence * count) - 1))]!;
    bin.images++;
    bin.confidence += confidence;
    if (guesses[0] === label) bin.right++;
    // A float32 softmax can be 0, whose logarithm would make the mean of all infinite.
    logLoss -= Math.log(Math.max(probability, 1e-38));
  }
  const bins = sums.map(({ images, confidence, right }, i) => ({
    from: i / count,
    to: (i + 1) / count,
    images,
    confidence: images === 0 ? 0 : confidence / images,
    accuracy: images === 0 ? 0 : right / images,
  }));
  const share = ({ images }: ReliabilityBin): number => images / Math.max(1, items.length);
  return {
    bins,
    expectedError: bins.reduce((sum, bin) => sum + share(bin) * Math.abs(bin.confidence - bin.accuracy), 0),
    largestError: Math.max(0, ...bins.map((bin) => Math.abs(bin.confidence - bin.accuracy))),
    overconfidence: bins.reduce((sum, bin) => sum + share(bin) * (bin.confidence - bin.accuracy), 0),
    logLoss: logLoss / Math.max(1, items.length),
  };
}
