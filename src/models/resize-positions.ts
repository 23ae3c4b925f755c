/**
 * Position embeddings of an image tower for another image size: the grid of positions is resized like a picture, bicubic with antialias, as
 * open_clip (`resize_pos_embed`) and timm (`resample_abs_pos_embed`) do when they load weights.
 */
import { ModelFormatError } from "../support/index.ts";
import { type Tensor, cat, noGrad, operator, scope } from "../torch/index.ts";

type Resize = (x: Tensor, size: readonly number[], alignCorners: boolean, rows: null, columns: null) => Tensor;
const bicubicWithAntialias = operator<Resize>("aten::_upsample_bicubic2d_aa", "", "tensor");

/**
 * @param positions `[1 + G x G, W]` or `[1, 1 + G x G, W]` float32: the class token's, which stays, then those of a square grid
 * @param grid patches along a side that are wanted
 * @returns positions of `grid x grid` patches, with as many dimensions
 * @throws ModelFormatError when the grid is not square
 */
export function resizePositions(positions: Tensor, grid: number): Tensor {
  const [tokens, width] = positions.shape.slice(-2) as [number, number];
  const before = Math.round(Math.sqrt(tokens - 1));
  if (before * before !== tokens - 1) {
    throw new ModelFormatError(`${tokens - 1} positions beside the class token's are no square grid: they can't be resized.`);
  }
  return noGrad(() =>
    scope(() => {
      const rows = positions.reshape(tokens, width);
      const picture = rows.slice(0, 1).view(1, before, before, width).permute(0, 3, 1, 2).contiguous();
      const resized = bicubicWithAntialias(picture, [grid, grid], false, null, null);
      const whole = cat([rows.slice(0, 0, 1), resized.permute(0, 2, 3, 1).reshape(grid * grid, width)]);
      return positions.shape.length === 3 ? whole.unsqueeze(0) : whole;
    }),
  );
}
