/**
 * The one form that every source of data takes: an image, its caption, and what else was written about it.
 */

import type { ImageSource } from "./image-source.ts";

/** Name of the source that a data set's own captions have. */
export const originalSource = "original";

/** A text for an image, and who wrote it. */
export interface Caption {
  /** "original", or the name of a rewrite source. */
  source: string;
  text: string;
  /** Chance of being drawn, relative to the other texts of the sample, or how much it counts; above 0 and up to 1. Default 1. */
  weight?: number;
}

/** An image with all that was written about it. */
export interface Sample {
  /** Unique in the data set; rewrites are joined by it. */
  id: string;
  /** Absolute path of the image file, or where else its bytes are. */
  image: ImageSource;
  /** The original first, then the rewrites in the order of their sources. */
  captions: Caption[];
}
