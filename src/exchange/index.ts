/** Models of other projects: open_clip's and Hugging Face's folders, PyTorch's files; read, and written. */
export * from "./stored-matrices.ts";
export * from "./hugging-face-folder.ts";
export { tokenizerFiles } from "./tokenizer-files.ts";
