export * from "./gguf-header.ts";
export * from "./npy.ts";
export * from "./safetensors.ts";
export * from "./tables.ts";
export * from "./tar.ts";
export * from "./text-file.ts";
export * from "./text-join.ts";
export * from "./tfevents.ts";
