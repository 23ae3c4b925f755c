/** Scores of a frozen model. */
export * from "./metrics.ts";
export * from "./zero-shot.ts";
