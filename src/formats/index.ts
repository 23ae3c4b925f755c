export * from "./gguf-header.ts";
export * from "./safetensors.ts";
export * from "./tables.ts";
