/** Data sets for evaluation: published ones by name, one's own by folder. */
export * from "./dataset.ts";
export * from "./dataset-files.ts";
export * from "./inspect-datasets.ts";
export * from "./open-dataset.ts";
export * from "./registry.ts";
export * from "./words.ts";
