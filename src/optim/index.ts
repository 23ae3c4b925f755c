/** What changes parameters: optimisers, schedules, and the size of gradients. */
export * from "./adamw.ts";
export * from "./gradients.ts";
export * from "./schedules.ts";
