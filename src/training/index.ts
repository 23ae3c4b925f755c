/** What moves time forward: steps, checkpoints, runs. Knows nothing of evaluation: evaluators are handed in. */
export * from "./checkpoints.ts";
export * from "./parameter-groups.ts";
export * from "./run-folder.ts";
export * from "./cached-gradients.ts";
export * from "./step.ts";
export * from "./tower-features.ts";
export * from "./trainer.ts";
