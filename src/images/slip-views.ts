/**
 * The views that SLIP trains on (facebookresearch/SLIP): one crop for CLIP's loss and two, strongly changed, for SimCLR's.
 *
 * The transforms are torchvision's and their bytes Pillow's; which crop and which changes is drawn here, from our own generator.
 */
import type { Random } from "../support/index.ts";
import type { ColourChange } from "./colour-changes.ts";
import type { Pixels } from "./decode.ts";
import type { View } from "./native.ts";
import { renderInto, renderPixels } from "./render.ts";
import { type CropOptions, randomResizedCropBox, square, type TrainingImageOptions } from "./views.ts";

/** How strongly the views for SimCLR's loss are changed. Each default is SLIP's. */
export interface SimclrOptions extends CropOptions {
  /** Range of the crop's share of the image's area. Default [0.08, 1]. */
  scale?: readonly [number, number];
  /** Largest change of brightness, contrast, saturation (as factors around 1) and hue (in turns). Default 0.4, 0.4, 0.4, 0.1. */
  jitter?: readonly [brightness: number, contrast: number, saturation: number, hue: number];
  /** Chance that colours are changed at all. Default 0.8. */
  jitterChance?: number;
  /** Chance of a gray view. Default 0.2. */
  grayscaleChance?: number;
  /** Range of the blur's radius in pixels. Default [0.1, 2]. */
  blur?: readonly [number, number];
  /** Chance of a blur. Default 0.5. */
  blurChance?: number;
  /** Chance that left and right change places. Default 0.5. */
  flipChance?: number;
}

/** How SLIP's three views of an image are drawn. */
export interface SlipViewsOptions extends TrainingImageOptions {
  /** Of the two views for SimCLR's loss. */
  simclr?: SimclrOptions;
  /** True: the pixels of a whole decode; false lets a JPEG be decoded smaller where all three crops have more than enough. Default false. */
  exact?: boolean;
  /**
   * Is given the changes of the colours of SimCLR's two views, which are then left to do: they are drawn as ever, and both views come as
   * cropped, resized and mirrored. Default: they are done.
   */
  leaveColours?: (first: readonly ColourChange[], second: readonly ColourChange[]) => void;
}

/**
 * Three views of an image from one decode, written into `target` one after the other: `[3, size, size, 3]` RGB. The first is the crop that
 * `trainingViewInto` would draw; the others are SimCLR's.
 *
 * @param target at least `3 * size * size * 3` bytes; a part of a SharedArrayBuffer is written where it lies
 * @throws DataError when the image can't be decoded, UsageError when the target is too small
 */
export async function slipViewsInto(input: string | Uint8Array, options: SlipViewsOptions, target: Uint8Array): Promise<void> {
  await renderInto(input, options, (width, height) => drawSlipViews(width, height, options), options.exact ?? false, target);
}

/** The same of pixels that are already decoded: `[3, size, size, 3]`. */
export function slipViews(pixels: Pixels, options: SlipViewsOptions): Uint8Array {
  return renderPixels(pixels, drawSlipViews(pixels.width, pixels.height, options));
}

type ChangedView = View & { changes: readonly ColourChange[] };

function drawSlipViews(width: number, height: number, options: SlipViewsOptions): View[] {
  const { size, interpolation = "bilinear", random, simclr = {}, leaveColours } = options;
  const clip = square(randomResizedCropBox(random, width, height, options), size, interpolation);
  const draw = (): ChangedView => drawSimclrView(width, height, size, interpolation, random, simclr);
  const [first, second] = [draw(), draw()];
  if (leaveColours === undefined) return [clip, first, second];
  leaveColours(first.changes, second.changes);
  return [clip, { ...first, changes: [] }, { ...second, changes: [] }];
}

/** Draws are made in this order: crop, jitter (whether, its order, its four amounts), grayscale, blur (whether, its radius), flip. */
function drawSimclrView(
  width: number,
  height: number,
  size: number,
  interpolation: View["interpolation"],
  random: Random,
  options: SimclrOptions,
): ChangedView {
  const { scale = [0.08, 1], ratio, flipChance = 0.5 } = options;
  const box = randomResizedCropBox(random, width, height, { scale, ...(ratio === undefined ? {} : { ratio }) });
  const changes = drawChanges(random, options);
  return { ...square(box, size, interpolation, random.uniform() < flipChance), changes };
}

/** The changes of one view's colours, in their order. */
export function drawChanges(random: Random, options: SimclrOptions = {}): ColourChange[] {
  const { jitter = [0.4, 0.4, 0.4, 0.1], jitterChance = 0.8, grayscaleChance = 0.2, blur = [0.1, 2], blurChance = 0.5 } = options;
  const between = (low: number, high: number): number => low + (high - low) * random.uniform();
  const changes: ColourChange[] = [];
  if (random.uniform() < jitterChance) {
    const order = random.permutation(4);
    const jittered = (["brightness", "contrast", "saturation", "hue"] as const).map((kind, i): ColourChange => {
      const middle = kind === "hue" ? 0 : 1;
      return { kind, amount: between(kind === "hue" ? -jitter[i]! : Math.max(0, middle - jitter[i]!), middle + jitter[i]!) };
    });
    for (const i of order) changes.push(jittered[i]!);
  }
  if (random.uniform() < grayscaleChance) changes.push({ kind: "grayscale", amount: 0 });
  if (random.uniform() < blurChance) changes.push({ kind: "blur", amount: between(...blur) });
  return changes;
}
