/** Architectures with named weights, and how they lie on disk. */
export * from "./clip.ts";
export * from "./config.ts";
export * from "./flops.ts";
export * from "./freeze.ts";
export * from "./initial-weights.ts";
export * from "./kept-memory.ts";
export * from "./model-folder.ts";
export * from "./preprocessing.ts";
export * from "./presets.ts";
export * from "./resize-positions.ts";
export { type TextLayout, takesPackedTexts } from "./text-transformer.ts";
export * from "./view-head.ts";
export { imagePatches, positionsName } from "./vision-transformer.ts";
export * from "./weight-shapes.ts";
