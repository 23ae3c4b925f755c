/**
 * The stream that goes through the blocks of a transformer, and that each of them adds to.
 *
 * A block ends with something to add, and the next one begins with the norm of the sum. One pass over memory does both, see `addNorm`; so a
 * block hands on what it adds beside the sum before it, and leaves adding to the next norm.
 */
import { type Tensor, scope } from "../torch/index.ts";

/** The sum so far, `[..., width]` float32, and what is still to be added to it, of the same shape; default nothing. */
export type Residual = readonly [sum: Tensor, change?: Tensor];

/** What the stream has come to, `[..., width]` float32: for those who take one tensor. */
export function summed([sum, change]: Residual): Tensor {
  return change === undefined ? sum : sum.add(change);
}

/**
 * `x` through all blocks. What one hands to the next dies with the next one's scope: after that only gradients need it, which hold it themselves.
 * @param through what a block makes of the stream
 */
export function throughBlocks<Block>(blocks: readonly Block[], x: Tensor, through: (block: Block, x: Residual) => Residual): Residual {
  const last = blocks.at(-1);
  if (last === undefined) return [x];
  return scope(() => through(last, throughBlocks(blocks.slice(0, -1), x, through)));
}
