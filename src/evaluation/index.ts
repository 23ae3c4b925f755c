/** Scores of a frozen model. */
export * from "./datasets/index.ts";
export * from "./features/index.ts";
export * from "./few-shot/index.ts";
export * from "./image-text-scorer.ts";
export * from "./linear-probe/index.ts";
export * from "./metrics.ts";
export * from "./retrieval/index.ts";
export * from "./zero-shot.ts";
export * from "./results/result.ts";
export * from "./results/interval.ts";
export * from "./results/significance.ts";
export * from "./results/calibration.ts";
export * from "./results/confusion.ts";
export * from "./results/items-hash.ts";
export * from "./results/outcomes.ts";
