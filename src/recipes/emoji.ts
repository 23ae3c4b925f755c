/**
 * The demo's recipe: a tiny model on about 2,500 emoji drawings, in minutes on two cores.
 *
 *   laclip demo
 *
 * Its numbers are this project's own (docs/demo.md), in the manner of LaCLIP's trainer: same augmentation, learning
 * rates, betas, decay rule, schedule.
 */
import { laclipTrainer } from "./laclip-vit.ts";
import { type Recipe, derive } from "./recipe.ts";

export const emojiClip: Recipe = {
  description: "CLIP on the emoji world: every picture with its name",
  model: { preset: "tiny" },
  captions: { choose: "original" },
  images: laclipTrainer.images,
  optimizer: { ...laclipTrainer.optimizer, weightDecay: 0.2 },
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
