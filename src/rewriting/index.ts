/** Rewriting captions with language models by example, and what is needed around it. Loads without libtorch. */
export * from "./exports/batch.ts";
export { type CaptionRow, type CaptionsInput, type CaptionsOptions, openCaptions } from "./captions/captions-input.ts";
export * from "./checks/check-rewrites.ts";
export { type CheckOptions, type CheckSubject, clipTokens } from "./checks/check-subject.ts";
export * from "./checks/check-table.ts";
export { type CheckSetting, type CheckSettings, type CheckedRewrite, checkRewrite, defaultChecks, setCheck } from "./checks/checks.ts";
export * from "./statistics/complaints.ts";
export * from "./engines/choose-engine.ts";
export * from "./engines/engine.ts";
export * from "./estimate-rewriting.ts";
export * from "./engines/back-translation.ts";
export * from "./engines/eda.ts";
export * from "./engines/llama-cpp.ts";
export * from "./engines/random-llama.ts";
export { hashOfModel } from "./engines/llama-cpp-library.ts";
export * from "./engines/llama-cpp-trial.ts";
export { requestGroups } from "./request-groups.ts";
export { type BatchEngineOptions, type BatchLine, BatchRequests } from "./engines/openai-batch.ts";
export * from "./engines/openai-compatible.ts";
export * from "./pairs/coco-pairs.ts";
export * from "./pairs/generate-pairs.ts";
export {
  type Example,
  type Pair,
  type PairSource,
  type Triple,
  builtInSources,
  chooseSources,
  drawExamples,
  fusionSource,
  hashOfPairs,
  knownSources,
} from "./pairs/pairs.ts";
export * from "./pairs/pairs-file.ts";
export * from "./pairs/pairs-table.ts";
export { type ChatMessage, type Prompt, type PromptForm, type PromptParts } from "./prompts/prompt.ts";
export { defaultForm, defaultSources, findPromptForm, promptForms } from "./prompts/prompt-forms.ts";
export * from "./rewrite.ts";
export * from "./captions/second-captions.ts";
export { type ActiveShard, type EnqueueOptions, type EnqueueReport, type QueueStatus, enqueueShards, queueStatus } from "./queue/queue.ts";
export * from "./queue/queue-plan.ts";
export * from "./queue/queue-worker.ts";
export { defaultQueue } from "./queue/queue-connection.ts";
export { type ChosenShard, type Shard, chooseShard, refuseOtherCut, shardFolder } from "./shards/shards.ts";
export { type MergeOptions, type MergeReport, mergeShards } from "./shards/merge-shards.ts";
export * from "./shards/verify-rewrites.ts";
export { type AlignOptions } from "./exports/aligned-rewrites.ts";
export * from "./exports/export-rewrites.ts";
export * from "./exports/export-webdataset.ts";
export * from "./exports/import-rewrites.ts";
export * from "./engines/find-model.ts";
export { type ImagePolicy, type ImageReport, type ImageTextScorer, type ImageTexts } from "./checks/image-policies.ts";
export * from "./statistics/statistics.ts";
export { renderStatistics } from "./statistics/statistics-page.ts";
export { describeStatistics } from "./statistics/statistics-text.ts";
