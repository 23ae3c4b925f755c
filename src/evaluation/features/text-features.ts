/**
 * The features of a list of texts, made by a model once and kept in a feature store where there is one.
 *
 * Texts are encoded in the order of their lengths, so that a batch is padded to its longest and not to the longest of all.
 *
 * Shapes: T texts, D joint width.
 */
import { createHash } from "node:crypto";
import { ClipTokenizer } from "../../text/index.ts";
import { DataError, InterruptedError, Progress } from "../../support/index.ts";
import { Tensor, empty, noGrad, scope } from "../../torch/index.ts";
import { firstNotFinite, notFinite } from "../class-vectors.ts";
import type { FeatureStore, MakeFeatures } from "./feature-store.ts";
import type { FeatureModel } from "./image-features.ts";

/** How features are made, and where they are kept. */
export interface TextFeatureOptions {
  /** Texts a batch. Default 256. */
  batchSize?: number;
  device?: string;
  /** Where they are kept; default nowhere. */
  store?: FeatureStore | undefined;
  /** What the texts are called, for people. Default "texts". */
  name?: string;
  /** Whether progress is shown. Default true. */
  progress?: boolean;
  /** Stops between two batches; what was made stays in the store. */
  signal?: AbortSignal | undefined;
}

/** Texts whose features are written at once. */
const chunkTexts = 8192;

/**
 * `[T, D]` float32, not normalised, in the order of the texts. The caller disposes of it.
 * @throws DataError when there is no text, or a feature is not finite, naming the text; InterruptedError when stopped
 */
export async function textFeatures(model: FeatureModel, texts: readonly string[], options: TextFeatureOptions = {}): Promise<Tensor> {
  const { store, name = "texts", device = "cpu" } = options;
  if (texts.length === 0) throw new DataError(`${name}: there is no text.`);
  const make = textMaker(model, texts, options);
  const key = { model: model.hash ?? "", data: textsHash(texts), transform: { config: model.model.config } };
  const chunks =
    store === undefined || model.hash === undefined ? make(0, texts.length) : store.chunks({ key, items: texts.length, name, make });
  const width = model.model.config.jointWidth;
  const features_TD = empty([texts.length, width], { device }).keep();
  try {
    for await (const { from, to, features } of chunks) {
      scope(() => features_TD.slice(0, from, to).copy_(Tensor.from(features["joint"]!, [to - from, width])));
    }
    return features_TD;
  } catch (error) {
    features_TD.dispose();
    throw error;
  }
}

function textsHash(texts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(`${JSON.stringify(text)}\n`);
  return hash.digest("hex");
}

function textMaker({ model }: FeatureModel, texts: readonly string[], options: TextFeatureOptions): MakeFeatures {
  const { batchSize = 256, device = "cpu", name = "texts", signal } = options;
  const width = model.config.jointWidth;
  return async function* make(from, to) {
    const tokenizer = ClipTokenizer.load();
    const progress =
      options.progress === false ? undefined : new Progress({ label: name, total: texts.length, unit: "texts", start: from });
    for (let start = from; start < to; start += chunkTexts) {
      const end = Math.min(to, start + chunkTexts);
      const byLength = Array.from({ length: end - start }, (_, i) => start + i).sort((a, b) => texts[a]!.length - texts[b]!.length);
      const joint = new Float32Array((end - start) * width);
      for (let at = 0; at < byLength.length; at += batchSize) {
        if (signal?.aborted)
          throw new InterruptedError(`Stopped after ${start + at} of ${texts.length} texts.`, { mend: "Start the same command again." });
        // Between two batches the process must be able to hear that it shall stop.
        await new Promise((resolve) => setImmediate(resolve));
        const rows = byLength.slice(at, at + batchSize);
        const some = rows.map((row) => texts[row]!);
        const { ids, length } = tokenizer.tokenizeBatch(some, model.config.text.contextLength);
        const features = noGrad(() =>
          scope(() => {
            const features_TD = model.encodeTexts(Tensor.from(ids, [some.length, length], { device }).to("int64"));
            const broken = firstNotFinite(features_TD);
            if (broken !== undefined) throw notFinite(JSON.stringify(some[broken]));
            return features_TD.toFloat32Array();
          }),
        );
        for (const [i, row] of rows.entries()) joint.set(features.subarray(i * width, (i + 1) * width), (row - start) * width);
        progress?.advance(some.length);
      }
      yield {
        from: start,
        to: end,
        rows: Int32Array.from({ length: end - start }, (_, i) => start + i),
        features: { joint },
        unreadable: [],
      };
    }
    progress?.finish();
  };
}
