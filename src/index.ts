/**
 * The library: each room under its name. Programs that need one room only import it by its own path (`laclip/text`, `laclip/rewriting`),
 * and then load nothing else; libtorch is loaded at the first use of a tensor.
 */
export * as curation from "./curation/index.ts";
export * as data from "./data/index.ts";
export * as distributed from "./distributed/index.ts";
export * as evaluation from "./evaluation/index.ts";
export * as formats from "./formats/index.ts";
export * as images from "./images/index.ts";
export * as models from "./models/index.ts";
export * as nn from "./nn/index.ts";
export * as objectives from "./objectives/index.ts";
export * as optim from "./optim/index.ts";
export * as recipes from "./recipes/index.ts";
export * as rewriting from "./rewriting/index.ts";
export * as support from "./support/index.ts";
export * as text from "./text/index.ts";
export * as torch from "./torch/index.ts";
export * as training from "./training/index.ts";
