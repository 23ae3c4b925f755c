export * from "./gguf-header.ts";
export * from "./npy.ts";
export * from "./safetensors.ts";
export * from "./tables.ts";
export * from "./tar.ts";
export * from "./tfevents.ts";
