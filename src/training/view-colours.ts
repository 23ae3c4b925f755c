/**
 * Changes of the colours of many views at once, where the model trains: what the loader does one view after the other on the processor
 * (src/images/colour-changes.ts), with the same bytes as result.
 *
 * Every operation is one whose result no device may round otherwise: whole numbers, single steps of float32, and tables that the processor
 * made. So where colours are changed makes no difference to a run.
 *
 * Each view has changes of its own in an order of its own. In a pass, the views that one kind of change has to come to next are gathered,
 * changed together and put back. No pass depends on what is in a view, so nothing waits for the device.
 *
 * Shapes: V views, C of them changed in a pass, H and W pixels.
 */
import {
  type BlurBox,
  type ColourChange,
  type ColourLists,
  blurBox,
  blurPasses,
  colourList,
  hsvOf,
  hueShift,
  rgbOf,
} from "../images/index.ts";
import { Tensor, arange, cat, full, ops, scope } from "../torch/index.ts";

/** Pixels in work at once, unless one view has more: some 300 views of 224 x 224. Those that a pass changes take up to 30 bytes each in it. */
const pixelsAtOnce = 2 ** 24;

/** How many views are changed at once, and when their lists are brought. */
export interface ViewColoursOptions {
  /** A GPU is given the lists while it computes what it was given before, see `Tensor.from`. Default false. */
  ahead?: boolean;
  /** Views in work at once. Default as many as have 2^24 pixels. */
  atOnce?: number;
}

/**
 * Does what the lists say, in place.
 * @param views uint8 `[V, H, W, 3]`, on any device
 * @param lists of these views, in their order
 */
export function changeViewColours(views: Tensor, lists: ColourLists, { ahead = false, atOnce }: ViewColoursOptions = {}): void {
  const [count, height, width] = views.shape as [number, number, number];
  const { device } = views;
  const together = atOnce ?? Math.max(1, Math.floor(pixelsAtOnce / (height * width)));
  const { passes, rows, factors, numbers } = planPasses(lists, count, together);
  if (passes.length === 0) return;
  scope(() => {
    const there = (array: BigInt64Array | Float32Array | Int32Array): Tensor => Tensor.from(array, [array.length], { device, ahead });
    const [rowsThere, factorsThere, numbersThere] = [there(rows), there(factors), there(numbers)];
    for (const { kind, first, from, to, around } of passes) {
      scope(() => {
        const part = views.slice(0, first, Math.min(first + together, count));
        const places = rowsThere.slice(0, from, to);
        // As float32 `[C, 1, 1, 1]`, or two of int32.
        const factor = factorsThere.slice(0, from, to).view(-1, 1, 1, 1);
        const number = (which: 0 | 1): Tensor =>
          numbersThere.slice(0, which * rows.length + from, which * rows.length + to).view(-1, 1, 1, 1);
        const before = part.indexSelect(0, places);
        const after = scope(() => {
          if (kind === "brightness") return blendAll(before, undefined, factor);
          if (kind === "contrast") return blendAll(before, meanLuma(before), factor);
          if (kind === "saturation") return saturate(before, factor);
          if (kind === "hue") return turnHue(before, number(0));
          if (kind === "grayscale")
            return luma(before)
              .to("uint8")
              .unsqueeze(-1)
              .expand(...before.shape);
          return blur(before, around, number(0), number(1));
        });
        ops.indexCopy_(part, 0, places, after);
      });
    }
  });
}

interface Pass {
  kind: ColourChange["kind"];
  /** First of the views that are in work with it. */
  first: number;
  /** Where what concerns it lies in the arrays of the plan. */
  from: number;
  to: number;
  /** Of blurs, see `BlurBox`. */
  around: number;
}

interface Plan {
  passes: Pass[];
  /** Places of the views of all passes, counted from the `first` of each */
  rows: BigInt64Array;
  /** The factor of each. */
  factors: Float32Array;
  /** Two numbers of each, all the first ones and then the second: the shift of a hue, or the weights of a blur. */
  numbers: Int32Array;
}

/**
 * Turns of what comes last in SLIP's lists, after up to four jitters in turns 0 to 3: views that have no jitter wait for those that have, so
 * that all who need it are changed in one pass.
 */
const turns: Partial<Record<ColourChange["kind"], number>> = { grayscale: 4, blur: 5 };

/** Which views each pass changes, and by how much. */
function planPasses(lists: ColourLists, count: number, together: number): Plan {
  const passes: Pass[] = [];
  const members: { row: number; change: ColourChange; box: BlurBox | undefined }[] = [];
  for (let first = 0; first < count; first += together) {
    const groups = new Map<string, typeof members>();
    for (let view = first; view < Math.min(first + together, count); view++) {
      let turn = 0;
      for (const change of colourList(lists, view)) {
        turn = Math.max(turn, turns[change.kind] ?? 0);
        const box = change.kind === "blur" ? blurBox(change.amount) : undefined;
        const name = `${String(turn++).padStart(2, "0")} ${change.kind} ${box?.around ?? 0}`;
        const group = groups.get(name) ?? groups.set(name, []).get(name)!;
        group.push({ row: view - first, change, box });
      }
    }
    // Groups of one turn have no view in common: only turns have an order.
    for (const name of [...groups.keys()].toSorted()) {
      const group = groups.get(name)!;
      const [{ change, box }] = group as [(typeof members)[0]];
      const from = members.length;
      for (const member of group) members.push(member);
      passes.push({ kind: change.kind, first, from, to: members.length, around: box?.around ?? 0 });
    }
  }
  const numbers = new Int32Array(2 * members.length);
  members.forEach(({ change, box }, i) => {
    numbers[i] = box?.inner ?? (change.kind === "hue" ? hueShift(change.amount) << 16 : 0);
    numbers[members.length + i] = box?.outer ?? 0;
  });
  return {
    passes,
    rows: BigInt64Array.from(members, ({ row }) => BigInt(row)),
    factors: Float32Array.from(members, ({ change }) => change.amount),
    numbers,
  };
}

// Bytes become wider within the operator that reads them, not before: what is computed here costs by what goes through memory.

/** ITU-R 601 luma in 16 fractional bits. @param pixels uint8 `[C, H, W, 3]` @returns int32 `[C, H, W]`, 0..255 */
function luma(pixels: Tensor): Tensor {
  const [red, green, blue] = pixels.unbind(-1) as [Tensor, Tensor, Tensor];
  const half = full([1], 0x8000, { dtype: "int32", device: pixels.device });
  return ops.bitwiseRightShiftTensorScalar_(half.add(red, 19595).add_(green, 38470).add_(blue, 7471), 16);
}

/** The mean of the luma, to the nearest whole number. @returns float32 `[C, 1, 1, 1]` */
function meanLuma(pixels: Tensor): Tensor {
  const [, height, width] = pixels.shape as [number, number, number];
  const sums = luma(pixels).sum([1, 2]);
  const means = ops.floorDivideScalar(sums.mul(2).add_(height * width), 2 * height * width);
  return means.to("float32").view(-1, 1, 1, 1);
}

/** From `base` towards each value and beyond. Two steps, since one that does both rounds once. @returns uint8 */
function blend(base: Tensor | undefined, values: Tensor, factor: Tensor): Tensor {
  const mixed = base === undefined ? values.mul(factor) : values.sub(base).mul_(factor).add_(base);
  return mixed.clamp_(0, 255).to("uint8");
}

/** The same for a base that all pixels of a view share: by a table of 256 values for each. @param base default 0 */
function blendAll(pixels: Tensor, base: Tensor | undefined, factor: Tensor): Tensor {
  const { device, shape } = pixels;
  const [count] = shape as [number];
  const tables = blend(base, arange(0, 256, { dtype: "float32", device }), factor);
  const places = arange(0, count, { dtype: "int32", device }).mul(256).view(-1, 1, 1, 1).add(pixels);
  return tables
    .view(-1)
    .indexSelect(0, places.view(-1))
    .view(...shape);
}

function saturate(pixels: Tensor, factor: Tensor): Tensor {
  return blend(luma(pixels).to("float32").unsqueeze(-1), pixels, factor);
}

/** @param shift int32 `[C, 1, 1, 1]`: `hueShift` in the third byte */
function turnHue(pixels: Tensor, shift: Tensor): Tensor {
  const { device, shape } = pixels;
  const { toHsv, toRgb } = hueTables(device);
  const [red, green, blue] = pixels.unbind(-1) as [Tensor, Tensor, Tensor];
  const colours = blue.to("int32").add_(green, 0x100).add_(red, 0x10000);
  const turned = toHsv
    .indexSelect(0, colours.view(-1))
    .view(...colours.shape)
    .add_(shift.squeeze(-1));
  return toRgb.indexSelect(0, ops.bitwiseAndScalar_(turned, 0xffffff).view(-1)).view(...shape);
}

/** From every colour to its hue, saturation and value, and back; places and what stands there have their bytes as in `hsvOf`. */
interface HueTables {
  /** int32 `[2^24]` */
  toHsv: Tensor;
  /** uint8 `[2^24, 3]` */
  toRgb: Tensor;
}

const hueTablesOf = new Map<string, HueTables>();

/** The tables on a device, made when they are asked for and then kept: 112 MiB. */
function hueTables(device: string): HueTables {
  let tables = hueTablesOf.get(device);
  if (tables === undefined) {
    const all = 2 ** 24;
    const [toHsv, toRgb] = [new Int32Array(all), new Uint8Array(3 * all)];
    for (let place = 0; place < all; place++) {
      toHsv[place] = hsvOf(place);
      const colour = rgbOf(place);
      toRgb[3 * place] = colour >> 16;
      toRgb[3 * place + 1] = colour >> 8;
      toRgb[3 * place + 2] = colour;
    }
    tables = { toHsv: Tensor.from(toHsv, [all], { device }).keep(), toRgb: Tensor.from(toRgb, [all, 3], { device }).keep() };
    hueTablesOf.set(device, tables);
  }
  return tables;
}

/** Where the highest byte of an int32 lies in memory. */
const highest = new Uint8Array(Int32Array.of(1 << 24).buffer).indexOf(1);

/** Passes of the box across, and then down. @param inner int32 `[C, 1, 1, 1]`, as `outer` */
function blur(pixels: Tensor, around: number, inner: Tensor, outer: Tensor): Tensor {
  let blurred = pixels;
  for (const dim of [2, 1]) {
    for (let pass = 0; pass < blurPasses; pass++) {
      const before = blurred;
      blurred = scope(() => blurOnce(before, dim, around, inner, outer));
      if (before !== pixels) before.dispose();
    }
  }
  return blurred;
}

/** One pass. Sums have 32 bits, of which the highest eight are the result; that int32 takes the first of them for a sign changes none. */
function blurOnce(pixels: Tensor, dim: number, around: number, inner: Tensor, outer: Tensor): Tensor {
  const length = pixels.sizeOf(dim);
  const reach = around + 1;
  // Pixels beyond the ends are as the last ones.
  const beyond = (at: number): Tensor[] => Array<Tensor>(reach).fill(pixels.slice(dim, at, at + 1));
  const padded = cat([...beyond(0), pixels, ...beyond(length - 1)], dim);
  const moved = (by: number): Tensor => padded.slice(dim, reach + by, reach + by + length);
  const half = full([1], 2 ** 23, { dtype: "int32", device: pixels.device });
  const sums = ops.addcmul(half, moved(0), inner);
  for (let by = 1; by <= reach; by++) {
    const weight = by === reach ? outer : inner;
    ops.addcmul_(sums, moved(by), weight);
    ops.addcmul_(sums, moved(-by), weight);
  }
  return ops.sliceTensor(ops.viewDtype(sums, "uint8"), -1, highest, null, 4);
}
