/** Models of other projects: open_clip's and Hugging Face's folders, PyTorch's files; read, and written. */
export * from "./stored-matrices.ts";
export { openaiPreprocessing } from "./hugging-face-config.ts";
export * from "./hugging-face-folder.ts";
export * from "./tokenizer-files.ts";
