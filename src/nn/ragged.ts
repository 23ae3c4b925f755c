/**
 * Rows of different lengths without what fills up the shorter ones.
 *
 * Most layers treat each token by itself, and so need no rows at all: they work on all real tokens end to end. Attention needs rows. Where
 * the device has a kernel for rows that lie end to end it gets them as they are; elsewhere they are filled up for it alone.
 *
 * Which token is where is worked out on the host, which knows the lengths: asking the device would mean to wait for it.
 *
 * Shapes: B rows, L tokens of the longest, T tokens of all rows, W width.
 */
import { invariant } from "../support/index.ts";
import { Tensor, arange, causalMask, ops, zeros } from "../torch/index.ts";

/** How many rows and tokens there are. */
export interface RaggedSize {
  /** B */
  rows: number;
  /** L */
  longest: number;
  /** T */
  tokens: number;
  /** How many of the T tokens belong to none of the rows at most; 0 where all do. See `raggedLayout`. */
  spare: number;
}

/** @param lengths, longest, step see `raggedLayout` */
export function raggedSize(lengths: readonly number[], longest: number, step = 0): RaggedSize {
  const real = lengths.reduce((sum, length) => sum + length, 0);
  return { rows: lengths.length, longest, tokens: step === 0 ? real : (Math.floor(real / step) + 1) * step, spare: step };
}

/**
 * Which token is where, for `Ragged`: int32, one part behind the other, so that one copy brings it to a device.
 * @param lengths tokens of each row, at least 1
 * @param longest width of a batch that they lie in, one row below the other
 * @param step makes T a multiple of it, by 1 to `step` more tokens than the rows have: copies of the first, which no row sees. So batches
 *   of different lengths have few different shapes. Default 0: there are none
 */
export function raggedLayout(lengths: readonly number[], longest: number, step = 0): Int32Array<ArrayBuffer> {
  const { rows, tokens } = raggedSize(lengths, longest, step);
  const layout = new Int32Array(3 * rows + 4 + 2 * tokens);
  const [starts, places] = [0, 3 * rows + 4];
  let at = 0;
  lengths.forEach((length, row) => {
    layout[starts + row] = at;
    for (let i = 0; i < length; i++, at++) {
      layout[places + at] = row * longest + i;
      layout[places + tokens + at] = i;
    }
    layout[2 * rows + 4 + row] = at - 1;
  });
  layout[rows] = at;
  layout[rows + 1] = tokens;
  for (let row = 0; row <= rows + 1; row++) layout[rows + 2 + row] = row;
  return layout;
}

/** Which tokens of a batch are real. */
export class Ragged {
  readonly rows: number;
  readonly longest: number;
  /** int64 `[T]`: place of each token in the batch, row after row. */
  readonly places: Tensor;
  /** int64 `[T]`: place of each token in its row. */
  readonly positions: Tensor;
  /** int64 `[B]`: the last token of each row among the real ones. */
  readonly lasts: Tensor;
  /** Where the device takes rows end to end; see there. */
  readonly ends: RowEnds | undefined;
  /** Where rows are filled up: `[L, L]`, -infinity for later tokens, and `[B, 1, 1, L]`, -infinity behind the end of each row. */
  readonly masks: { causal: Tensor; behind: Tensor } | undefined;

  /**
   * @param layout what `raggedLayout` says, on the device
   * @param packs whether attention takes rows end to end, see `packsAttention`
   */
  constructor(layout: Tensor, size: RaggedSize, packs: boolean) {
    const { rows, longest, tokens, spare } = size;
    invariant(packs || spare === 0, "rows that are filled up need no further tokens");
    const { device } = layout;
    this.rows = rows;
    this.longest = longest;
    const wide = layout.slice(0, 2 * rows + 4).to("int64");
    this.lasts = wide.slice(0, 0, rows);
    this.places = wide.slice(0, rows, rows + tokens);
    this.positions = wide.slice(0, rows + tokens);
    if (packs) {
      this.ends = {
        spare: spare > 0,
        all: layout.slice(0, 0, rows + (spare > 0 ? 2 : 1)),
        // The row of spare tokens can be longer than the others; kernels want no more than there are tokens.
        longest: Math.min(tokens, Math.max(longest, spare)),
        single: layout.slice(0, rows + 2, 2 * rows + (spare > 0 ? 4 : 3)),
      };
    } else {
      const last_B1 = this.positions.indexSelect(0, this.lasts).unsqueeze(1);
      const behind_BL = ops.gtTensor(arange(0, longest, { device }).unsqueeze(0), last_B1);
      const mask_BL = ops.maskedFillScalar(zeros(behind_BL.shape, { device }), behind_BL, -Infinity);
      this.masks = { causal: causalMask(longest, device), behind: mask_BL.unsqueeze(1).unsqueeze(1) };
    }
  }

  /** Of rows whose lengths the host knows. @param lengths, longest, options.step see `raggedLayout` */
  static of(lengths: readonly number[], longest: number, { device = "cpu", packs = false, step = 0 } = {}): Ragged {
    const layout = raggedLayout(lengths, longest, step);
    return new Ragged(Tensor.from(layout, [layout.length], { device }), raggedSize(lengths, longest, step), packs);
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

/** Where rows that lie end to end begin and end, as kernels want to know it: int32, one number more than there are rows. */
export interface RowEnds {
  /** Whether there are spare tokens: they are a row of their own, the last one, of which kernels must be asked something too (see there). */
  spare: boolean;
  /** Of all tokens. */
  all: Tensor;
  /** Tokens of the longest of these rows, or more. */
  longest: number;
  /** Of as many rows of one token each. */
  single: Tensor;
}
