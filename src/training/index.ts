/** What moves time forward: steps, checkpoints, runs. Knows nothing of evaluation: evaluators are handed in. */
export * from "./checkpoint-writer.ts";
export * from "./checkpoints.ts";
export { Faults } from "./faults.ts";
export * from "./loss-scaler.ts";
export * from "./parameter-groups.ts";
export * from "./patch-choice.ts";
export * from "./ranks.ts";
export * from "./reporter.ts";
export * from "./run-folder.ts";
export * from "./cached-gradients.ts";
export * from "./skipped-steps.ts";
export * from "./step-guard.ts";
export * from "./step.ts";
export * from "./tower-features.ts";
export * from "./tracker.ts";
export * from "./train-options.ts";
export * from "./trainer.ts";
