/**
 * How much memory a step takes at most, beside weights, moments and batch: an estimate from the model's shape, before anything is computed.
 *
 * Most of it is what the towers remember until the backward pass (kept-memory.ts). The rest is gradients, similarities and what comes and
 * goes. The estimate is held against what steps take in step-memory.test.ts.
 */
import {
  type Clip,
  type Tower,
  type TowerKernels,
  type TowerMemory,
  imageMemory,
  learningBlocks,
  textMemory,
  towerOf,
} from "../models/index.ts";
import { canFuse, keepsNoScores } from "../torch/index.ts";
import type { StepInput } from "./step.ts";
import { type Precision, textLengths } from "./tower-features.ts";

/** How a step is split to take less memory; the gradients are the same up to rounding. */
export interface StepSplit {
  /** Images that pass through the towers at once, at most the batch; see cached-gradients.ts. */
  microBatch: number;
  /** Whether blocks are computed again in the backward pass instead of being remembered. */
  recomputeBlocks: boolean;
}

/** What decides how much a step takes. */
export interface StepSizes {
  batchSize: number;
  /** Passes of an image tower for each sample: 3 with two more views. */
  images: number;
  /** Patches of each that the tower looks at; default all. */
  patches?: number | undefined;
  textsPerImage: number;
  /** Tokens of each text. */
  lengths: readonly number[];
  /** Samples of all processes together; default this one's. */
  globalBatch?: number | undefined;
}

/** Float32 matrices of similarities, and of features, that a loss and its gradient have at a time. */
const matrices = 8;

/** The sizes of a step on a batch. */
export function sizesOf({ batchSize, tokens, tokenLength, textsPerImage = 1, views, patches }: StepInput, ranks = 1): StepSizes {
  const images = views === undefined ? 1 : 3;
  return {
    batchSize,
    images,
    patches: patches === undefined ? undefined : patches.length / (images * batchSize),
    textsPerImage,
    lengths: textLengths(tokens, tokenLength),
    globalBatch: batchSize * ranks,
  };
}

/** Bytes that a model's steps take under a split. */
export class StepMemory {
  readonly #model: Clip;
  readonly #kernels: TowerKernels;
  readonly #blocks: Record<Tower, number>;
  /** Gradients by tower, the largest of them, and weights as matrix products take them. */
  readonly #gradients: Record<Tower, number> = { image: 0, text: 0 };
  #largest = 0;
  #narrowed = 0;
  #others = 0;

  constructor({ model, device, precision }: { model: Clip; device: string; precision: Precision }) {
    this.#model = model;
    const dtype = precision === "fp32" ? "float32" : precision === "bf16" ? "bfloat16" : "float16";
    this.#kernels = {
      bytes: precision === "fp32" ? 4 : 2,
      fused: canFuse({ device, dtype }),
      withoutScores: keepsNoScores({ device, dtype }),
    };
    this.#blocks = { image: learningBlocks(model, "image"), text: learningBlocks(model, "text") };
    for (const [name, parameter] of model.namedParameters()) {
      if (precision !== "fp32" && /(weight|projection|proj)$/.test(name) && !/embedding/.test(name)) this.#narrowed += 2 * parameter.size;
      if (!parameter.requiresGrad) continue;
      const bytes = 4 * parameter.size;
      const tower = towerOf(name);
      if (tower === undefined) this.#others += bytes;
      else this.#gradients[tower] += bytes;
      this.#largest = Math.max(this.#largest, bytes);
    }
  }

  /** The most bytes at a time. */
  peak(sizes: StepSizes, { microBatch, recomputeBlocks }: StepSplit): number {
    const { batchSize, images: views, textsPerImage, lengths, globalBatch = batchSize } = sizes;
    const { config } = this.#model;
    const whole = microBatch >= batchSize;
    const count = Math.min(microBatch, batchSize);
    const texts = count * textsPerImage;
    // Micro-batches are dealt by length: the last has the longest texts.
    const longest = whole ? lengths : lengths.toSorted((a, b) => b - a).slice(0, texts);
    const tokens = longest.reduce((sum, length) => sum + length, 0);
    const image = held(imageMemory(config, this.#kernels, this.#blocks.image, sizes.patches), recomputeBlocks, count * views, count);
    const ofTexts = textMemory(config, this.#kernels, this.#blocks.text, { tokens, texts, longest: Math.max(...longest) });
    const text = held(ofTexts, recomputeBlocks, 1, 1);

    const { viewHead, jointWidth, vision } = config;
    const head = viewHead === undefined || views === 1 ? 0 : 2 * batchSize * 4 * (5 * viewHead.hidden + 2 * viewHead.width + vision.width);
    const features = 4 * jointWidth * (batchSize + globalBatch) * (1 + textsPerImage) * (whole ? 2 : 4);
    const loss = 4 * matrices * count * globalBatch * Math.max(1, textsPerImage) + head;
    const gradients = this.#gradients.image + this.#gradients.text + this.#others;
    if (whole) {
      return (
        this.#narrowed +
        features +
        Math.max(
          image.kept + Math.max(image.passing, text.kept + Math.max(text.passing, loss)),
          image.kept + image.passing + this.#gradients.text + this.#others,
          gradients,
        )
      );
    }
    // The text tower's part of the backward pass comes first, then its gradients are added to those of the parts before.
    const passes = Math.max(image.kept + text.kept + text.passing, image.kept + Math.max(image.passing, this.#largest));
    return features + Math.max(loss + this.#others, this.#narrowed + gradients + passes);
  }
}

/** @param count of inputs that the tower remembers; @param passing of those that it goes through at a time */
function held(
  { kept, inputs, block, passing }: TowerMemory,
  recompute: boolean,
  count: number,
  at: number,
): { kept: number; passing: number } {
  if (!recompute) return { kept: count * kept, passing: at * passing };
  return { kept: count * inputs, passing: at * (block + passing) };
}
