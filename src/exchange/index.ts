/** Models of other projects: open_clip's and Hugging Face's folders, PyTorch's files; read, and written. */
export * from "./bare-weights.ts";
export * from "./hugging-face-folder.ts";
export * from "./onnx/onnx-folder.ts";
export * from "./open-clip-folder.ts";
export * from "./read-model.ts";
export * from "./tokenizer-files.ts";
export { type Weights, type WeightsFile, readWeightsFile } from "./weights-file.ts";
export * from "./write-model.ts";
