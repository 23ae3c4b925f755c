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
  takesPackedTexts,
  textMemory,
  towerOf,
} from "../models/index.ts";
import { type AttentionKeeps, type DType, attentionKeeps, canCutPatches, canFuse, packedWorkspace } from "../torch/index.ts";
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
  /** Tokens of each text, the longest first. */
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
    lengths: textLengths(tokens, tokenLength).toSorted((a, b) => b - a),
    globalBatch: batchSize * ranks,
  };
}

/** Bytes that a model's steps take under a split. */
export class StepMemory {
  readonly #model: Clip;
  readonly #kernels: TowerKernels;
  readonly #blocks: Record<Tower, number>;
  /** Gradients by tower, the largest of each, and weights as matrix products take them. */
  readonly #gradients: Record<Tower, number> = { image: 0, text: 0 };
  readonly #largest: Record<Tower, number> = { image: 0, text: 0 };
  #narrowed = 0;
  #others = 0;

  constructor({ model, device, precision }: { model: Clip; device: string; precision: Precision }) {
    this.#model = model;
    const dtype = precision === "fp32" ? "float32" : precision === "bf16" ? "bfloat16" : "float16";
    this.#kernels = {
      bytes: precision === "fp32" ? 4 : 2,
      fused: canFuse({ device, dtype }),
      kernels: device !== "cpu" && canFuse({ device, dtype }),
      cuts: canCutPatches(device),
      attention: attentionOf(model, { device, dtype }),
      packed: takesPackedTexts(model.config, device) ? packedWorkspace(dtype) : undefined,
    };
    this.#blocks = { image: learningBlocks(model, "image"), text: learningBlocks(model, "text") };
    for (const [name, parameter] of model.namedParameters()) {
      if (precision !== "fp32" && /(weight|projection|proj)$/.test(name) && !/embedding/.test(name)) this.#narrowed += 2 * parameter.size;
      if (!parameter.requiresGrad) continue;
      const bytes = 4 * parameter.size;
      const tower = towerOf(name);
      if (tower === undefined) {
        this.#others += bytes;
      } else {
        this.#gradients[tower] += bytes;
        this.#largest[tower] = Math.max(this.#largest[tower], bytes);
      }
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
    const tokens = lengths.slice(0, texts).reduce((sum, length) => sum + length, 0);
    const image = held(imageMemory(config, this.#kernels, this.#blocks.image, sizes.patches), recomputeBlocks, count * views, count);
    const ofTexts = textMemory(config, this.#kernels, this.#blocks.text, { tokens, texts, longest: lengths[0]! });
    const text = held(ofTexts, recomputeBlocks, 1, 1);

    const { viewHead, jointWidth, vision } = config;
    const head = viewHead === undefined || views === 1 ? 0 : 2 * batchSize * 4 * (5 * viewHead.hidden + 2 * viewHead.width + vision.width);
    const features = 4 * jointWidth * (batchSize + globalBatch) * (1 + textsPerImage) * (whole ? 2 : 4);
    const loss = 4 * matrices * count * globalBatch * Math.max(1, textsPerImage) + head;
    const gradients = this.#gradients.image + this.#gradients.text + this.#others;
    // A frozen tower is gone through once, before there are gradients.
    const back = this.#blocks.image === 0 ? 0 : image.passing;
    if (!whole) {
      // One tower at a time goes forth and back; each of its gradients is added to that of the parts before.
      const through = (tower: Held, name: Tower): number =>
        this.#blocks[name] === 0 ? tower.passing : gradients + tower.kept + Math.max(tower.passing, this.#largest[name]);
      return features + Math.max(loss + this.#others, this.#narrowed + Math.max(through(image, "image"), through(text, "text")));
    }
    const toText = image.kept + text.kept + text.passing;
    const atLoss = image.kept + text.kept + loss;
    const throughImages = image.kept + back + this.#gradients.text + this.#others;
    // When the first block is gone through, the last one of all, all other gradients are there.
    const atEnd = gradients + (back === 0 ? 0 : image.first + back);
    return this.#narrowed + features + Math.max(image.kept + image.passing, toText, atLoss, throughImages, atEnd);
  }
}

/** What attention keeps in both towers, or in the one where it keeps more. */
function attentionOf({ config }: Clip, tensors: { device: string; dtype: DType }): AttentionKeeps {
  const kept = [config.vision, config.text].map(({ width, heads }) => attentionKeeps(tensors, width / heads));
  return kept.includes("scores") ? "scores" : kept[0]!;
}

/** What a tower holds. */
interface Held {
  kept: number;
  /** What comes on top of it in a block. */
  passing: number;
  /** What is left of `kept` in the first block. */
  first: number;
}

/** @param count of inputs that the tower remembers; @param at of those that it goes through at a time */
function held({ kept, inputs, block, passing }: TowerMemory, recompute: boolean, count: number, at: number): Held {
  if (recompute) return { kept: count * inputs, passing: at * (block + passing), first: 0 };
  return { kept: count * kept, passing: at * passing, first: at * block };
}
