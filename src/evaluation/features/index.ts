/** Features of images and texts, made once and kept. */
export { FeatureStore, defaultFeatureFolder } from "./feature-store.ts";
export type { FeatureChunk, FeatureKey, FeatureRequest, MakeFeatures } from "./feature-store.ts";
export { imageFeatureKinds, imageFeatures, imagesHash, noneReadable } from "./image-features.ts";
export type { FeatureModel, ImageFeatureKind, ImageFeatureOptions, ImageFeatures } from "./image-features.ts";
export { textFeatures } from "./text-features.ts";
export type { TextFeatureOptions } from "./text-features.ts";
