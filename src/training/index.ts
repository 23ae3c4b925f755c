/** What moves time forward: steps, checkpoints, runs. Knows nothing of evaluation: evaluators are handed in. */
export * from "./checkpoints.ts";
export * from "./parameter-groups.ts";
export * from "./ranks.ts";
export * from "./run-folder.ts";
export * from "./step.ts";
export * from "./trainer.ts";
