/** Rewriting captions with language models by example, and what is needed around it. Loads without libtorch. */
export * from "./captions-input.ts";
export * from "./checks.ts";
export * from "./choose-engine.ts";
export * from "./engine.ts";
export * from "./engines/eda.ts";
export * from "./engines/llama-cpp.ts";
export * from "./engines/openai-compatible.ts";
export * from "./engines/wordnet.ts";
export * from "./pairs.ts";
export * from "./prompt.ts";
export * from "./prompt-forms.ts";
export * from "./rewrite.ts";
export * from "./shards.ts";
export * from "./export-rewrites.ts";
export * from "./find-model.ts";
export * from "./statistics.ts";
