/**
 * A linear classifier on features, as it is kept and applied: scaling is folded into its weights.
 *
 *   classifier.json         what it was fitted to and how, and the classes
 *   classifier.safetensors  weight float32 [K, D], bias float32 [K]
 *
 * Shapes: N rows, D features, K classes.
 */
import { join } from "node:path";
import { z } from "zod";
import { readSafetensors, writeSafetensors } from "../../formats/index.ts";
import { DataError, ModelFormatError, makeFolder, readJson, replaceFileSync, sha256, writeFileAtomic } from "../../support/index.ts";
import { Tensor, noGrad, ops, scope } from "../../torch/index.ts";
import type { FeatureScaling } from "./softmax-objective.ts";

const descriptionSchema = z.strictObject({
  format: z.literal("laclip-classifier-1"),
  /** What the set calls its classes, in the order of the outputs. */
  classes: z.array(z.string()).min(2),
  /** The features that it reads. */
  feature: z.enum(["class-token", "joint"]),
  /** Hash of the model that they are of, see `modelHash`. */
  model: z.string(),
  /** How images were prepared for it: `normalisation`, `interpolation`, `imageSize`, `description` (a hash of the model's description). */
  preparation: z.record(z.string(), z.union([z.string(), z.number()])),
  /** Data set, solver, strength, ... */
  fitted: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});

/** What a classifier says of itself. */
export type ClassifierDescription = Omit<z.infer<typeof descriptionSchema>, "format">;

/** The best classes of each row. */
export interface RowPrediction {
  readonly label: number;
  /** Place of the right class among all, 1 = best; of equal scores, the right one counts as worse. */
  readonly rank: number;
  /** The best classes, falling, at most 5, and their logits. */
  readonly guesses: number[];
  readonly scores: number[];
  /** Chance that it gives its best class, and the right one, 0..1. */
  readonly confidence: number;
  readonly probability: number;
}

const [weightsFile, descriptionFile] = ["classifier.safetensors", "classifier.json"];

/** Owns tensors: dispose of it. */
export class LinearClassifier {
  readonly #weight_KD: Tensor;
  readonly #bias_K: Tensor;

  /** @param weight `[K, D]` float32 @param bias `[K]` float32; both are the classifier's from now on */
  constructor(weight: Tensor, bias: Tensor) {
    this.#weight_KD = weight.keep();
    this.#bias_K = bias.keep();
  }

  /** @param parameters `[D + 1, K]` of features after scaling, the bias last */
  static fromScaled(parameters: Tensor, { mean, scale }: FeatureScaling): LinearClassifier {
    return scope(() => {
      const width = mean.sizeOf(0);
      const weight_DK = parameters.slice(0, 0, width).div(scale.unsqueeze(1));
      const bias_K = parameters.select(0, width).sub(mean.unsqueeze(0).matmul(weight_DK).squeeze(0));
      return new LinearClassifier(weight_DK.t().to("float32").contiguous(), bias_K.to("float32"));
    });
  }

  /** Features that it reads. */
  get width(): number {
    return this.#weight_KD.sizeOf(1);
  }

  get classes(): number {
    return this.#weight_KD.sizeOf(0);
  }

  /** `[N, D]` float32 -> `[N, K]` float32 @throws DataError for features of another width */
  logits(features: Tensor): Tensor {
    if (features.sizeOf(1) !== this.width) {
      throw new DataError(`Features of width ${features.sizeOf(1)}: this classifier reads features of width ${this.width}.`, {
        mend: "It was fitted to features of another model, or of another kind.",
      });
    }
    return noGrad(() => scope(() => ops.linear(features, this.#weight_KD, this.#bias_K)));
  }

  /** Predictions of every row. */
  predict({ features, labels }: { readonly features: Tensor; readonly labels: Int32Array }): RowPrediction[] {
    const kept = Math.min(5, this.classes);
    const predictions: RowPrediction[] = [];
    for (let at = 0; at < labels.length; at += 4096) {
      const some = labels.subarray(at, at + 4096);
      const [scores, guesses, ranks, confidences, probabilities] = scope(() => {
        const logits_NK = this.logits(features.slice(0, at, at + some.length));
        const [best, indices] = logits_NK.topk(kept);
        const labels_N1 = Tensor.from(some, [some.length, 1], { device: features.device }).to("int64");
        const chances_NK = logits_NK.softmax(1);
        // The right class itself is as good as itself, which makes ranks count from 1.
        const asGood = ops.geTensor(logits_NK, ops.gather(logits_NK, 1, labels_N1)).sum(1);
        return [best, indices, asGood, ops.amax(chances_NK, 1), ops.gather(chances_NK, 1, labels_N1)].map((tensor) => tensor.toArray());
      }) as [number[], number[], number[], number[], number[]];
      some.forEach((label, i) =>
        predictions.push({
          label,
          rank: ranks[i]!,
          guesses: guesses.slice(i * kept, (i + 1) * kept),
          scores: scores.slice(i * kept, (i + 1) * kept),
          confidence: confidences[i]!,
          probability: probabilities[i]!,
        }),
      );
    }
    return predictions;
  }

  /** Writes the folder; the weights first, so that a folder with `classifier.json` is whole. */
  save(folder: string, description: ClassifierDescription): void {
    makeFolder(folder);
    const stored = (tensor: Tensor): { dtype: "F32"; shape: number[]; data: Uint8Array } => {
      const values = tensor.toFloat32Array();
      return { dtype: "F32", shape: tensor.shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
    };
    const tensors: [string, ReturnType<typeof stored>][] = [
      ["weight", stored(this.#weight_KD)],
      ["bias", stored(this.#bias_K)],
    ];
    replaceFileSync(join(folder, weightsFile), (beside) => writeSafetensors(beside, tensors));
    writeFileAtomic(join(folder, descriptionFile), `${JSON.stringify({ format: "laclip-classifier-1", ...description }, null, 2)}\n`);
  }

  /** Reads a folder, onto a device; `hash` is that of weights and bias. @throws DataError when there is none; ModelFormatError when its files are damaged or do not fit each other */
  static load(folder: string, device = "cpu"): { classifier: LinearClassifier; description: ClassifierDescription; hash: string } {
    const path = join(folder, descriptionFile);
    const parsed = descriptionSchema.safeParse(readJson(path, "classifier"));
    if (!parsed.success) {
      throw new ModelFormatError(`${path}: ${z.prettifyError(parsed.error)}`, {
        mend: "Fit the classifier again, and keep it with --save.",
      });
    }
    const { format: _, ...description } = parsed.data;
    const weights = join(folder, weightsFile);
    const { tensors } = readSafetensors(weights);
    const [weight, bias] = [tensors.get("weight"), tensors.get("bias")];
    const classes = description.classes.length;
    if (
      weight?.dtype !== "F32" ||
      weight.shape.length !== 2 ||
      weight.shape[0] !== classes ||
      bias?.dtype !== "F32" ||
      bias.shape.join() !== `${classes}`
    ) {
      throw new ModelFormatError(
        `${weights}: expected weight [${classes}, features] and bias [${classes}], both F32, got ${[...tensors].map(([name, { dtype, shape }]) => `${name} ${dtype} [${shape.join(", ")}]`).join(", ")}.`,
      );
    }
    const tensor = ({ data, shape }: { data: Uint8Array; shape: number[] }): Tensor =>
      Tensor.from(new Float32Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength / 4), shape, { device });
    const hash = sha256(Buffer.concat([weight.data, bias.data]));
    return { classifier: new LinearClassifier(tensor(weight), tensor(bias)), description, hash };
  }

  dispose(): void {
    this.#weight_KD.dispose();
    this.#bias_K.dispose();
  }
}
