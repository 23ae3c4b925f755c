/**
 * The demo's recipe: a tiny model on about 2,500 emoji drawings, in minutes on two cores.
 *
 *   laclip demo
 *
 * Its numbers are this project's own (docs/demo.md), in the manner of LaCLIP's trainer: same augmentation, betas, decay rule, schedule.
 */
import { type Recipe, derive } from "./recipe.ts";

export const emojiClip: Recipe = {
  description: "CLIP on the emoji world: every picture with its name",
  model: { preset: "tiny" },
  captions: { choose: "original" },
  images: { scale: [0.5, 1], interpolation: "bilinear", mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  optimizer: { peakLr: 1e-3, startLr: 1e-6, endLr: 1e-5, weightDecay: 0.2, betas: [0.9, 0.98], eps: 1e-8 },
  training: {
    steps: 200,
    batchSize: 256,
    warmupSteps: 30,
    precision: "fp32",
    seed: 1,
    checkpointEvery: 100,
    keepCheckpoints: 2,
    logEvery: 10,
  },
};

export const emojiLaclip = derive(emojiClip, {
  description: "LaCLIP on the emoji world: every picture with its name or one of its rewrites",
  captions: { choose: "uniform" },
});
