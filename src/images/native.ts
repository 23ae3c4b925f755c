/**
 * The wall to the addon for images (native/images): the one place that finds it, loads it, and knows the form of its plans.
 *
 * The set-up builds it and leaves its path in `build/images/current.json`. Without it everything works through sharp and plain
 * TypeScript, with the same pixels and slower; `LACLIP_IMAGES=plain` chooses that.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError, readJson } from "../support/index.ts";
import { type ColourChange, changeKinds } from "./colour-changes.ts";
import type { Box, Interpolation } from "./resample.ts";

/** Functions of the addon, as native/images/src/addon.cc registers them. */
interface ImagesAddon {
  render(plan: Float64Array, source: Uint8Array, target: Uint8Array, owned: number): Promise<Outcome>;
  renderNow(plan: Float64Array, source: Uint8Array, target: Uint8Array): Outcome;
  setThreads(count: number): void;
  threads(): number;
  jpeg(): string | null;
}

/** How the addon ended; native/images/src/jpeg.h and addon.cc have the same numbers. */
export const outcomes = { done: 0, cutShort: 1, damaged: 2, otherHeader: 3, outOfMemory: 4, targetGone: 5 } as const;
export type Outcome = (typeof outcomes)[keyof typeof outcomes];

/** Whose an array is that the addon is handed: one that nobody else knows is used where it lies. */
export const owned = { nothing: 0, source: 1, target: 2, both: 3 } as const;

/** A picture that is to come out of an image. */
export interface View {
  /** The part of the image, in its pixels. */
  box: Box;
  /** Size that the part is resized to. */
  width: number;
  height: number;
  /** The part of the resized picture that is wanted. */
  window: Box;
  interpolation: Interpolation;
  /** Left and right changed places. Default false. */
  mirrored?: boolean;
  /** What is done to the colours, in this order. Default nothing. */
  changes?: readonly ColourChange[];
}

/** Which way images take, and why. */
export interface ImageEngine {
  /** Path of the addon; null on the plain way. */
  addon: string | null;
  /** Version of the libjpeg-turbo that it decodes JPEGs with; null where sharp does that. */
  libjpeg: string | null;
  /** Why there is no addon, or none that decodes JPEGs, and what to do; null where nothing is missing. */
  missing: string | null;
}

let loaded: { engine: ImageEngine; addon: ImagesAddon | undefined } | undefined;

/** The addon; undefined on the plain way. @throws UsageError when LACLIP_IMAGES has a value that is not known */
export function imagesAddon(): ImagesAddon | undefined {
  loaded ??= load();
  return loaded.addon;
}

/** The addon, where it decodes JPEGs. */
export function jpegAddon(): ImagesAddon | undefined {
  const addon = imagesAddon();
  return loaded?.engine.libjpeg == null ? undefined : addon;
}

/** Which way images take on this machine, and what is missing for the fast one. */
export function imageEngine(): ImageEngine {
  loaded ??= load();
  return loaded.engine;
}

/**
 * How many images are worked on at once, on threads that all workers of the process share. Default: the processors that the process may
 * use. Without the addon it has no effect: sharp then has libuv's threads (`UV_THREADPOOL_SIZE`).
 * @throws UsageError when `count` is no whole number from 1 to 1024
 */
export function setImageThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > 1024) {
    throw new UsageError(`${count} threads for images, expected a whole number from 1 to 1024.`);
  }
  imagesAddon()?.setThreads(count);
}

/** Number of these threads; 0 without the addon. */
export function imageThreads(): number {
  return imagesAddon()?.threads() ?? 0;
}

function load(): { engine: ImageEngine; addon: ImagesAddon | undefined } {
  const plain = (missing: string | null) => ({ engine: { addon: null, libjpeg: null, missing }, addon: undefined });
  const way = process.env["LACLIP_IMAGES"] ?? "";
  if (way === "plain") return plain("LACLIP_IMAGES=plain is set: unset it for the addon");
  if (way !== "") throw new UsageError(`LACLIP_IMAGES=${way} is not known, expected "plain" or nothing.`);
  const record = join(packageFolder(), "build", "images", "current.json");
  if (!existsSync(record)) return plain("the addon for images is not built: run `npm run setup`");
  const path = resolve(dirname(record), (readJson(record, "build record") as { addon: string }).addon);
  try {
    const addon = createRequire(import.meta.url)(path) as ImagesAddon;
    // Another worker may have chosen already.
    if (addon.threads() === 0) addon.setThreads(availableParallelism());
    const libjpeg = addon.jpeg();
    return {
      engine: {
        addon: path,
        libjpeg,
        missing:
          libjpeg === null ? "the addon for images was built without libjpeg-turbo: install libjpeg-dev and run `npm run setup`" : null,
      },
      addon,
    };
  } catch (error) {
    return plain(`the addon for images does not load (${(error as Error).message.split("\n")[0]}): run \`npm run setup\``);
  }
}

/** The folder that holds package.json, from a file in src/images or dist/src/images. */
function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return folder;
}

/**
 * The plan of views in the addon's form (native/images/src/render.h).
 *
 * @param leastShrink decoded pixels for each output pixel that a JPEG must have along both sides when it is decoded smaller; `Infinity`:
 *   never smaller
 */
export function writePlan(
  source: "jpeg" | "pixels",
  width: number,
  height: number,
  leastShrink: number,
  views: readonly View[],
): Float64Array {
  const numbers = [source === "jpeg" ? 0 : 1, width, height, leastShrink, views.length];
  for (const { box, window, changes = [], ...view } of views) {
    numbers.push(box.x, box.y, box.width, box.height, view.width, view.height, window.x, window.y, window.width, window.height);
    numbers.push(view.interpolation === "bilinear" ? 0 : 1, view.mirrored === true ? 1 : 0, 0, changes.length);
    for (const { kind, amount } of changes) numbers.push(changeKinds.indexOf(kind), amount);
  }
  return Float64Array.from(numbers);
}

/** The plan for all pixels of an image as they are. */
export function writeDecodePlan(width: number, height: number): Float64Array {
  const size = [width, height];
  return Float64Array.of(0, ...size, Infinity, 1, 0, 0, ...size, ...size, 0, 0, ...size, 0, 0, 1, 0);
}

/** Bytes that the views have together. */
export function viewBytes(views: readonly View[]): number {
  return views.reduce((sum, { window }) => sum + window.width * window.height * 3, 0);
}
