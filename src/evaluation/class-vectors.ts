/**
 * Classes as vectors: the features of their texts, which are computed once for all images (Radford et al. 2021, section 3.1.4).
 *
 * A class is the normalised mean of the normalised features of its texts: every template with every name. Where several names are to be
 * alternatives (`several: "best"`), each has a vector, and the nearest counts. Shapes: V vectors, T texts at once, D joint width.
 */
import type { Clip } from "../models/index.ts";
import { unitRows } from "../nn/index.ts";
import { DataError, InterruptedError, UsageError } from "../support/index.ts";
import { ClipTokenizer } from "../text/index.ts";
import { Tensor, noGrad, ops, scope, zeros } from "../torch/index.ts";

/** What images are held against. */
export interface ZeroShotClasses {
  /** The names of each class, at least one. */
  names: readonly (readonly string[])[];
  /** Prompts with `{}` where the name goes. */
  templates: readonly string[];
  /**
   * What several names of a class mean together: "mean", the default, averages all their texts; with "best" each name has a vector of its
   * own, and the cosine of a class is that of the nearest.
   */
  several?: "mean" | "best" | undefined;
}

/** Texts that go through the text tower at once: enough that no class costs a batch of its own. */
const textsAtOnce = 256;

/** The template with the name in it. @throws UsageError for a template without `{}` */
export function fillTemplate(template: string, name: string): string {
  if (!template.includes("{}")) throw new UsageError(`The template "${template}" has no {} for the class name.`);
  return template.replace("{}", () => name);
}

/** How many texts stand for the classes. */
export function countTexts({ names, templates }: ZeroShotClasses): number {
  return names.reduce((sum, own) => sum + own.length, 0) * templates.length;
}

/**
 * @param onTexts told how many texts were done, after each of the batches
 * @param signal stops between two batches
 * @returns `[V, D]` float32, rows of length 1: one for each class or, with "best", one for each name, class by class. The caller disposes of it
 * @throws DataError when features are not finite; UsageError for a template without `{}`; InterruptedError when stopped
 */
export async function classVectors(
  model: Clip,
  { names, templates, several = "mean" }: ZeroShotClasses,
  device = "cpu",
  { onTexts, signal }: { onTexts?: ((count: number) => void) | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Tensor> {
  const tokenizer = ClipTokenizer.load();
  const groups = several === "mean" ? names : names.flatMap((own) => own.map((name) => [name]));
  const texts = groups.flatMap((own, owner) =>
    own.flatMap((name) => templates.map((template) => ({ text: fillTemplate(template, name), owner }))),
  );
  const sums_VD = zeros([groups.length, model.config.jointWidth], { device }).keep();
  try {
    for (let at = 0; at < texts.length; at += textsAtOnce) {
      // ImageNet has 80,000 of them: between two batches the process must be able to hear that it shall stop.
      await new Promise((resolve) => setImmediate(resolve));
      if (signal?.aborted)
        throw new InterruptedError(`Stopped after ${at} of ${texts.length} texts.`, { mend: "Start the same command again." });
      const some = texts.slice(at, at + textsAtOnce);
      noGrad(() =>
        scope(() => {
          const { ids, length } = tokenizer.tokenizeBatch(
            some.map(({ text }) => text),
            model.config.text.contextLength,
          );
          const features_TD = unitRows(model.encodeTexts(Tensor.from(ids, [some.length, length], { device }).to("int64")));
          const owners = Int32Array.from(some, ({ owner }) => owner);
          ops.indexAdd_(sums_VD, 0, Tensor.from(owners, [some.length], { device }).to("int64"), features_TD);
        }),
      );
      onTexts?.(some.length);
    }
    const broken = firstNotFinite(sums_VD);
    if (broken !== undefined) throw notFinite(`the texts of the class "${groups[broken]![0]!}"`);
    return noGrad(() => scope(() => unitRows(sums_VD).keep()));
  } finally {
    sums_VD.dispose();
  }
}

/** Index of the first row with a value that is NaN or infinite. @param x `[N, D]` */
export function firstNotFinite(x: Tensor): number | undefined {
  const found = scope(() => ops.isfinite(x.sum(1)).toArray()).findIndex((finite) => !finite);
  return found === -1 ? undefined : found;
}

/** What features that are no numbers mean to the person who evaluates. */
export function notFinite(what: string): DataError {
  return new DataError(`The model's features of ${what} are not finite (NaN or infinite).`, {
    mend: "Its weights are damaged, or its training diverged: try an earlier checkpoint.",
  });
}
