/** From files to training batches: captions and their rewrites, the caption choice, the order of samples, the loader. */
export * from "./hashed-keys.ts";
export * from "./rewrites-folder.ts";
export * from "./rewrites-writer.ts";
export * from "./caption-table.ts";
export * from "./captions.ts";
export * from "./join-rewrites.ts";
export * from "./order.ts";
export * from "./pairs.ts";
export * from "./sample.ts";
export * from "./sample-table.ts";
export * from "./text-column.ts";
export * from "./labelled-folder.ts";
export * from "./loader.ts";
export * from "./evaluation-images.ts";
export * from "./training-batches.ts";
export * from "./skipped-images.ts";
export * from "./batch-stream.ts";
