/** Losses: features of a batch in, one number out. */
export * from "./clip-loss.ts";
export * from "./make-objective.ts";
export * from "./multi-text-loss.ts";
export * from "./objective.ts";
export * from "./rowwise-objective.ts";
export * from "./sigmoid-loss.ts";
export * from "./slip-loss.ts";
export * from "./soft-target-loss.ts";
export type { Denominator } from "./softmax-parts.ts";
