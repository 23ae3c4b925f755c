/**
 * From features of images to predictions: the class with the largest cosine, and what there is to say of that.
 *
 * Knows nothing of where features come from, a model or a store of them. Shapes: N images, V vectors, C classes, D joint width.
 */
import { unitRows } from "../nn/index.ts";
import { Tensor, noGrad, ops, scope } from "../torch/index.ts";
import { type ZeroShotClasses, firstNotFinite, notFinite } from "./class-vectors.ts";

/** What was predicted for an image. */
export interface ClassPrediction {
  label: number;
  /** Place of the right class among all, 1 = best. */
  rank: number;
  /** The classes with the largest cosines, falling, at most 5. */
  top: { label: number; cosine: number }[];
  /** Softmax of the best class over all classes, of cosines times `logitScale`, 0..1. */
  confidence: number;
  /** The same of the right class. */
  probability: number;
}

/** Holds images against classes. */
export class ClassScorer {
  readonly #vectors: Tensor;
  readonly #classes: number;
  readonly #logitScale: number;
  readonly #names: Int32Array | undefined;
  readonly #device: string;

  /**
   * @param vectors `[V, D]` as `classVectors` gives them for these classes; they stay their owner's
   * @param logitScale the model's factor on cosines, for confidences
   */
  constructor(vectors: Tensor, classes: ZeroShotClasses, logitScale: number, device = "cpu") {
    this.#vectors = vectors;
    this.#classes = classes.names.length;
    this.#logitScale = logitScale;
    this.#names = classes.several === "best" ? placesOfNames(classes.names) : undefined;
    this.#device = device;
  }

  /**
   * @param features `[N, D]` float32, of any length
   * @param labels `[N]`, each 0..C-1
   * @param nameOf what messages call an image
   * @throws DataError naming an image whose features are not finite
   */
  score(features: Tensor, labels: Int32Array, nameOf: (row: number) => string): ClassPrediction[] {
    return noGrad(() =>
      scope(() => {
        const broken = firstNotFinite(features);
        if (broken !== undefined) throw notFinite(nameOf(broken));
        const cosines_NC = this.#cosines(unitRows(features));
        const kept = Math.min(5, this.#classes);
        const [values, places] = cosines_NC.topk(kept);
        const labels_N1 = Tensor.from(labels, [labels.length, 1], { device: this.#device }).to("int64");
        const right_N1 = ops.gather(cosines_NC, 1, labels_N1);
        const ranks = ops.gtTensor(cosines_NC, right_N1).sum(1).add(1).toArray();
        const chances_NC = ops.softmaxInt(cosines_NC.mul(this.#logitScale), 1);
        const confidences = ops.amax(chances_NC, 1).toArray();
        const probabilities = ops.gather(chances_NC, 1, labels_N1).toArray();
        const [cosines, indices] = [values.toArray(), places.toArray()];
        return Array.from(labels, (label, i) => ({
          label,
          rank: ranks[i]!,
          top: Array.from({ length: kept }, (_, k) => ({ label: indices[i * kept + k]!, cosine: cosines[i * kept + k]! })),
          confidence: confidences[i]!,
          probability: probabilities[i]!,
        }));
      }),
    );
  }

  /** `[N, D]` unit rows -> `[N, C]` */
  #cosines(images_ND: Tensor): Tensor {
    const cosines_NV = images_ND.matmul(this.#vectors.t());
    if (this.#names === undefined) return cosines_NV;
    const places = Tensor.from(this.#names, [this.#names.length], { device: this.#device }).to("int64");
    return ops.amax(cosines_NV.indexSelect(1, places).view(images_ND.sizeOf(0), this.#classes, -1), 2);
  }
}

/** Indices of each class's vectors; classes with fewer names than others have their first again, which changes no maximum. */
function placesOfNames(names: readonly (readonly string[])[]): Int32Array {
  const most = names.reduce((longest, own) => Math.max(longest, own.length), 0);
  const places = new Int32Array(names.length * most);
  let first = 0;
  for (const [i, own] of names.entries()) {
    for (let k = 0; k < most; k++) places[i * most + k] = first + (k < own.length ? k : 0);
    first += own.length;
  }
  return places;
}
