/** Losses: features of a batch in, one number out. */
export * from "./clip-loss.ts";
export * from "./objective.ts";
