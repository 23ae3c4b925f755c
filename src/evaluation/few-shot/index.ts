/** Few-shot classification by episodes. */
export * from "./episode.ts";
export * from "./episode-classifier.ts";
export * from "./few-shot.ts";
