export * from "./gguf-header.ts";
export * from "./tables.ts";
