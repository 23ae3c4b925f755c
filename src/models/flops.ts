/**
 * How many operations the towers need: the matrix products, an addition and a multiplication counted as two.
 *
 * What the last blocks need not compute is not counted (see the transformers), nor norms, activations, embeddings and the loss, which are
 * little beside them.
 */
import type { ClipConfig } from "./config.ts";

/** Products of a stack of blocks of width W on n tokens, where the last block computes one token only. */
function blocks(depth: number, width: number, tokens: number): number {
  const whole = 24 * tokens * width ** 2 + 4 * tokens ** 2 * width;
  const last = 4 * tokens * width ** 2 + 20 * width ** 2 + 4 * tokens * width;
  return (depth - 1) * whole + last;
}

/** Operations of one image in the forward pass. @param patches that the tower looks at; default all */
export function imageFlops({ vision, jointWidth }: ClipConfig, patches = (vision.imageSize / vision.patchSize) ** 2): number {
  const { width, depth, patchSize } = vision;
  return 6 * patches * patchSize ** 2 * width + blocks(depth, width, patches + 1) + 2 * width * jointWidth;
}

/** Operations of one text in the forward pass. @param tokens of it, its end included */
export function textFlops({ text: { width, depth }, jointWidth }: ClipConfig, tokens: number): number {
  return blocks(depth, width, tokens) + 2 * width * jointWidth;
}
