/**
 * Which patches of an image the image tower looks at in a training step, when it does not look at all of them (FLIP: Li et al. 2023, "Scaling
 * Language-Image Pre-training via Masking"; open_clip's `patch_dropout`). The class token is always there.
 *
 * They follow from seed, step and id, as crops do: the same in both passes of micro-batches, in blocks that are computed again, in a run that
 * goes on, and with any number of processes.
 */
import type { Batch } from "../data/index.ts";
import type { Clip } from "../models/index.ts";
import { Random } from "../support/index.ts";

/** Share of the patches that is left out, 0 to below 1, and the seed of the choice. */
export interface PatchDropout {
  share: number;
  seed: number;
}

/** What a step adds to its batch: the patches to look at, where not all are. */
export function patchesOf(
  { step, ids, views }: Pick<Batch, "step" | "ids" | "views">,
  { model, patchDropout }: { model: Clip; patchDropout?: PatchDropout | undefined },
): { patches?: Int32Array } {
  if (patchDropout === undefined || patchDropout.share === 0) return {};
  const { imageSize, patchSize } = model.config.vision;
  const patches = (imageSize / patchSize) ** 2;
  return { patches: choosePatches({ ...patchDropout, step, ids, patches, views: views === undefined ? 0 : 2 }) };
}

/** Patches that are looked at, of so many; at least one. @param share of them that is left out, 0 to below 1 */
export function keptPatches(patches: number, share: number): number {
  return Math.max(1, Math.floor(patches * (1 - share)));
}

/**
 * @param options.patches of a whole image
 * @param options.share of them that is left out
 * @param options.views further views of each image, whose patches are drawn by themselves
 * @returns int32 `[(1 + views) x ids, K]`: different places of patches, counted row by row from 0
 */
export function choosePatches(options: {
  seed: number;
  step: number;
  ids: readonly string[];
  patches: number;
  share: number;
  views: number;
}): Int32Array {
  const { seed, step, ids, patches, share, views } = options;
  const kept = keptPatches(patches, share);
  const all = Array.from({ length: patches }, (_, place) => place);
  const chosen = new Int32Array((1 + views) * ids.length * kept);
  for (let view = 0; view <= views; view++) {
    ids.forEach((id, i) => chosen.set(Random.of(seed, "patches", step, view, id).sample(all, kept), (view * ids.length + i) * kept));
  }
  return chosen;
}
