/** Retrieval between images and texts. */
export * from "./retrieval.ts";
export type { RetrievalBlocks, RetrievalRanks } from "./retrieval-ranks.ts";
