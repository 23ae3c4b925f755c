/** Data sets for evaluation: published ones by name, one's own by folder. */
export * from "./dataset.ts";
export * from "./dataset-files.ts";
export * from "./inspect-datasets.ts";
export * from "./open-dataset.ts";
export * from "./imagenet-variants.ts";
export * from "./labelled-table.ts";
export * from "./registry.ts";
export * from "./retrieval/inspect-retrieval.ts";
export * from "./retrieval/retrieval-dataset.ts";
export * from "./words.ts";
