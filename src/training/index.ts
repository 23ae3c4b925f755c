/** What moves time forward: steps, checkpoints, runs. Knows nothing of evaluation: evaluators are handed in. */
export * from "./checkpoint-writer.ts";
export {
  type BestRule,
  type Checkpoint,
  type CheckpointState,
  type KeepRule,
  canBeSaved,
  checkpointFolders,
  copyCheckpoint,
  latestCheckpoint,
  restoreCheckpoint,
} from "./checkpoints.ts";
export * from "./batch-feed.ts";
export { Faults } from "./faults.ts";
export { LossScaler, type LossScalerOptions } from "./loss-scaler.ts";
export * from "./parameter-groups.ts";
export { type PatchDropout, choosePatches } from "./patch-choice.ts";
export { type ProfileSummary, type ProfiledWork, profileTables, summarizeProfile } from "./profile-summary.ts";
export * from "./ranks.ts";
export * from "./reporter.ts";
export * from "./run-folder.ts";
export * from "./cached-gradients.ts";
export * from "./step-graphs.ts";
export { StepGuard, type Verdict } from "./step-guard.ts";
export * from "./speedometer.ts";
export * from "./step-memory.ts";
export { type SplitSettings, chooseSplit, memoryForSteps, possibleSplits } from "./step-splits.ts";
export * from "./step.ts";
export { type Precision } from "./tower-features.ts";
export { type RunEnd, type Tracker, type TrackerTarget, trackerAddress } from "./tracker.ts";
export * from "./train-options.ts";
export * from "./train-settings.ts";
export * from "./trainer.ts";
export * from "./view-colours.ts";
