/** Captions on their way to the model: cleaning and tokens. */
export { type CleaningMode, cleanText, cleaningModes, isCleaningMode } from "./clean-text.ts";
export { unescapeHtml } from "./html-entities.ts";
export { ClipTokenizer, type TokenBatch, type TokenizerOptions, contextLength } from "./clip-tokenizer.ts";
export { type WrittenVocabulary, writtenVocabulary } from "./written-vocabulary.ts";
export { endOfText, startOfText, vocabularySize } from "./vocabulary.ts";
