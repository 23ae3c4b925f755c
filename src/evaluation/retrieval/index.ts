/** Retrieval between images and texts. */
export * from "./model-retrieval.ts";
export * from "./retrieval.ts";
export type { RetrievalBlocks, RetrievalRanks } from "./retrieval-ranks.ts";
