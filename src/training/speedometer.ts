/** How much a device does in a second, and how much of its memory that takes. */
import { imageFlops, learns, textFlops } from "../models/index.ts";
import { type ProductKind, deviceMemory, peakFlops, resetPeakMemory, tf32 } from "../torch/index.ts";
import type { StepInput } from "./step.ts";
import { type Precision, textLengths } from "./tower-features.ts";
import type { TrainOptions } from "./train-options.ts";

type Settings = Pick<TrainOptions, "model" | "device" | "precision" | "peakTflops">;

/**
 * Counts the operations that steps need, see `imageFlops`: three times those of the forward pass for a tower that learns, once for one that
 * stays as it is. What a step computes twice to save memory counts once: it is the model's work, not the program's.
 */
export class Speedometer {
  readonly #settings: Settings;
  readonly #factors: { image: number; text: number };
  readonly #peak: number | undefined;
  readonly #ofText = new Map<number, number>();
  #operations = 0;
  #steps = 0;

  constructor(settings: Settings) {
    const { model, device, precision, peakTflops } = settings;
    this.#settings = settings;
    this.#factors = { image: learns(model, "image") ? 3 : 1, text: learns(model, "text") ? 3 : 1 };
    this.#peak = peakTflops === undefined ? peakFlops(device, productKind(precision)) : peakTflops * 1e12;
    resetPeakMemory(device);
  }

  /** Takes note of a step. */
  add(input: StepInput): void {
    this.#operations += this.#operationsOf(input);
    this.#steps++;
  }

  /**
   * Measures since the last call, by the names of events: `train/tflops`, 10^12 operations a second of this process; `train/mfu`, the share
   * of the device's peak, where that is known; `train/device_memory`, bytes of a GPU's memory in tensors at most, since the
   * start or the last step that was watched to choose its split.
   * @param seconds a step's, on average
   */
  take(seconds: number): Record<string, number> {
    const rate = this.#operations / this.#steps / seconds;
    this.#operations = this.#steps = 0;
    const memory = deviceMemory(this.#settings.device);
    return {
      "train/tflops": rate / 1e12,
      ...(this.#peak === undefined ? {} : { "train/mfu": rate / this.#peak }),
      ...(memory === undefined ? {} : { "train/device_memory": memory.peak }),
    };
  }

  #operationsOf({ batchSize, tokens, tokenLength, views, patches }: StepInput): number {
    const { config } = this.#settings.model;
    const images = batchSize * (views === undefined ? 1 : 3);
    const kept = patches === undefined ? undefined : patches.length / images;
    let ofTexts = 0;
    for (const length of textLengths(tokens, tokenLength)) {
      let one = this.#ofText.get(length);
      if (one === undefined) this.#ofText.set(length, (one = textFlops(config, length)));
      ofTexts += one;
    }
    return this.#factors.image * images * imageFlops(config, kept) + this.#factors.text * ofTexts;
  }
}

function productKind(precision: Precision): ProductKind {
  if (precision === "bf16") return "bfloat16";
  if (precision === "fp16") return "float16";
  return tf32() ? "tf32" : "float32";
}
