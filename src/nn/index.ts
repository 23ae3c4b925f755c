/** Layers and modules: what has weights, and nothing that knows what the weights are for. */
export * from "./attention.ts";
export * from "./ragged.ts";
export * from "./batch-norm.ts";
export * from "./feature-group.ts";
export * as init from "./init.ts";
export * from "./layers.ts";
export * from "./module.ts";
export * from "./residual.ts";
export * from "./state-files.ts";
