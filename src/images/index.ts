/** From image files to the pixels that a model sees. */
export * from "./decode.ts";
export * from "./encode.ts";
export * from "./image-header.ts";
export * from "./resample.ts";
export * from "./views.ts";
