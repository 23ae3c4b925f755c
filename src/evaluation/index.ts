/** Scores of a frozen model. */
export * from "./datasets/index.ts";
export * from "./class-scorer.ts";
export * from "./class-vectors.ts";
export * from "./image-text-scorer.ts";
export * from "./metrics.ts";
export * from "./zero-shot.ts";
export * from "./results/result.ts";
export * from "./results/interval.ts";
export * from "./results/significance.ts";
export * from "./results/calibration.ts";
export * from "./results/confusion.ts";
export * from "./results/items-hash.ts";
export * from "./results/outcomes.ts";
export * from "./results/compare.ts";
export * from "./published/published.ts";
