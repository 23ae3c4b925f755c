/**
 * Views of one image, from file to pixels, on whichever way is there: the addon on threads of its own, or sharp and plain TypeScript.
 *
 * A JPEG is decoded once for all its views, only as far as they reach. Where a crop has more pixels than the view needs, it may be decoded
 * at a half, a quarter or an eighth of its size, which costs a fraction and changes pixels a little; `exact` forbids that.
 */
import { invariant, LaclipError, UsageError } from "../support/index.ts";
import { changeColours } from "./colour-changes.ts";
import { type DecodeOptions, decodeWithSharp, openImage, type Pixels } from "./decode.ts";
import { imagesAddon, jpegAddon, type Outcome, outcomes, owned, type View, viewBytes, writePlan } from "./native.ts";
import { resizePlain } from "./resample.ts";

/**
 * Decoded pixels for each pixel of the view, along both sides, that a JPEG must keep. So few that large photos gain, so many that views
 * differ from the exact ones by less than a byte value in the mean; bench/images prints by how much.
 */
const leastShrink = 1.2;

/** How images are decoded, and what the caller knows of the array that their views go to. */
export interface RenderOptions extends DecodeOptions {
  /**
   * True: the array is neither transferred to another thread nor made smaller before its views are made, so they are written where it
   * lies. Default false: they are copied there when they are made. Shared memory is written where it lies in any case.
   */
  targetStays?: boolean;
}

/**
 * Makes views one after the other into `target`.
 *
 * @param choose the views of an image of this size; called once
 * @param exact true: the pixels of a whole decode; false: a JPEG may be decoded smaller
 * @throws DataError when the image can't be decoded, UsageError when the target is too small
 */
export async function renderInto(
  input: string | Uint8Array,
  options: RenderOptions,
  choose: (width: number, height: number) => readonly View[],
  exact: boolean,
  target: Uint8Array,
): Promise<void> {
  const image = await openImage(input, options);
  const decoder = jpegAddon();
  let chosen: { width: number; height: number; views: readonly View[] } | undefined;
  if (decoder !== undefined && image.jpeg !== undefined) {
    const { width, height } = image.jpeg;
    const views = choose(width, height);
    checkRoom(views, target);
    const plan = writePlan("jpeg", width, height, exact ? Infinity : leastShrink, views);
    if (finished(await decoder.render(plan, image.bytes, target, ours(image.ownBytes, options)))) return;
    chosen = { width, height, views };
  }
  const pixels = await decodeWithSharp(image);
  const known = chosen !== undefined && chosen.width === pixels.width && chosen.height === pixels.height;
  const views = known ? chosen!.views : choose(pixels.width, pixels.height);
  checkRoom(views, target);
  const addon = imagesAddon();
  if (addon === undefined) {
    renderPlain(pixels, views, target);
    return;
  }
  const plan = writePlan("pixels", pixels.width, pixels.height, Infinity, views);
  const done = finished(await addon.render(plan, pixels.data, target, ours(true, options)));
  invariant(done, `views of ${pixels.width} x ${pixels.height} pixels of ${image.name} were not made`);
}

/** Which arrays the addon may use where they lie. */
function ours(source: boolean, { targetStays = false }: RenderOptions): number {
  return (source ? owned.source : owned.nothing) | (targetStays ? owned.target : owned.nothing);
}

/** False where another decoder should try. */
function finished(outcome: Outcome): boolean {
  if (outcome === outcomes.targetGone) throw new UsageError("The array for an image was transferred or made smaller before it was filled.");
  if (outcome === outcomes.outOfMemory) {
    throw new LaclipError("There is not enough memory for an image.", {
      mend: "Read fewer at once: setImageThreads(1), or fewer loaders.",
    });
  }
  return outcome === outcomes.done;
}

/** Views of pixels that are already decoded, one after the other. The calling thread makes them. */
export function renderPixels(pixels: Pixels, views: readonly View[]): Uint8Array {
  const target = new Uint8Array(viewBytes(views));
  const addon = imagesAddon();
  if (addon === undefined) {
    renderPlain(pixels, views, target);
  } else {
    const plan = writePlan("pixels", pixels.width, pixels.height, Infinity, views);
    invariant(finished(addon.renderNow(plan, pixels.data, target)), `views of ${pixels.width} x ${pixels.height} pixels were not made`);
  }
  return target;
}

/** Views of pixels that are already decoded, without the addon. */
export function renderPlain(pixels: Pixels, views: readonly View[], target: Uint8Array): void {
  let at = 0;
  for (const { box, width, height, window, interpolation, mirrored = false, changes = [] } of views) {
    const view = resizePlain(pixels, box, width, height, interpolation, window);
    if (mirrored) mirror(view, window.width);
    changeColours(view, window.width, window.height, changes);
    target.set(view, at);
    at += view.length;
  }
}

function mirror(pixels: Uint8Array, width: number): void {
  for (let row = 0; row < pixels.length; row += width * 3) {
    for (let left = row, right = row + width * 3 - 3; left < right; left += 3, right -= 3) {
      for (let c = 0; c < 3; c++) {
        const swap = pixels[left + c]!;
        pixels[left + c] = pixels[right + c]!;
        pixels[right + c] = swap;
      }
    }
  }
}

function checkRoom(views: readonly View[], target: Uint8Array): void {
  const needed = viewBytes(views);
  if (target.byteLength < needed)
    throw new UsageError(`The array for an image has ${target.byteLength} bytes, expected at least ${needed}.`);
}
