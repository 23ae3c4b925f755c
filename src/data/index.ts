export * from "./hashed-keys.ts";
export * from "./rewrites-folder.ts";
export * from "./rewrites-writer.ts";
