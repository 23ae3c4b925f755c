/**
 * Rows of different lengths without what fills up the shorter ones.
 *
 * Most layers treat each token by itself, and so need no rows at all: they work on all real tokens end to end. Attention needs rows; for
 * it alone they are filled up. Shapes: B rows, L tokens of the longest, T real tokens of all rows, W width.
 */
import { Tensor, arange, ops, zeros } from "../torch/index.ts";

/** Which tokens of a batch are real. */
export class Ragged {
  readonly rows: number;
  readonly longest: number;
  /** int64 `[T]`: place of each real token in the batch, row after row. */
  readonly places: Tensor;
  /** int64 `[T]`: place of each real token in its row. */
  readonly positions: Tensor;
  /** int64 `[B]`: the last token of each row among the real ones. */
  readonly lasts: Tensor;

  /**
   * @param ends int64 `[B]`: place of the last real token of each row; all before it are real
   * @param longest L
   */
  constructor(ends: Tensor, longest: number) {
    const { device } = ends;
    this.rows = ends.sizeOf(0);
    this.longest = longest;
    const real_BL = ops.leTensor(arange(0, longest, { device }).unsqueeze(0), ends.unsqueeze(1));
    this.places = ops.nonzero(real_BL.flatten()).squeeze(1);
    this.positions = ops.remainderScalar(this.places, longest);
    this.lasts = ops.cumsum(ends.add(1), 0).sub(1);
  }

  /** `[B, L, W]` or `[B, L]` -> `[T, W]` or `[T]`: the real tokens. */
  pack(x: Tensor): Tensor {
    const [, , width] = x.shape;
    if (width === undefined) return x.flatten().indexSelect(0, this.places);
    // As a look-up in a table of vectors, since its gradient is added up by all threads and that of index_select by one.
    return ops.embedding(x.reshape(this.rows * this.longest, width), this.places);
  }

  /** `[T, W]` -> `[B, L, W]`, zeros where there is no token. */
  pad(x: Tensor): Tensor {
    const width = x.sizeOf(1);
    const empty = zeros([this.rows * this.longest, width], { dtype: x.dtype, device: x.device });
    return ops.indexCopy_(empty, 0, this.places, x).view(this.rows, this.longest, width);
  }
}
