/** From image files to the pixels that a model sees. */
export {
  type BlurBox,
  blurBox,
  blurPasses,
  changeColours,
  type ColourChange,
  changeKinds,
  hsvOf,
  hueShift,
  rgbOf,
} from "./colour-changes.ts";
export * from "./colour-lists.ts";
export { decodeImage, type DecodeOptions, type Pixels, readImageFile } from "./decode.ts";
export * from "./encode.ts";
export { imageHeader } from "./header.ts";
export * from "./image-header.ts";
export { type ImageEngine, imageEngine, imageThreads, setImageThreads } from "./native.ts";
export { type RenderOptions } from "./render.ts";
export { type Box, type Interpolation, resizePillow } from "./resample.ts";
export * from "./slip-views.ts";
export {
  type CropOptions,
  type EvaluationImageOptions,
  evaluationImage,
  evaluationImageInto,
  evaluationView,
  randomResizedCropBox,
  type TrainingImageOptions,
  type TrainingViewOptions,
  trainingImage,
  trainingView,
  trainingViewInto,
} from "./views.ts";
