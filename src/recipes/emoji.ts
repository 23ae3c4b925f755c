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

/** CLIP on the emoji world. */
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

/** Several texts of a picture in each step: its name and one of its rewrites. */
const twoTexts: Recipe["captions"] = { choose: "uniform", textsPerImage: 2, alwaysOriginal: true };

/** SimCLR's loss beside CLIP's, with a head in proportion to the tiny tower. */
const views = {
  model: { viewHead: { hidden: 512, width: 128 } },
  objective: { name: "slip", scale: 1, temperature: 0.1 },
} as const;

/** LaCLIP on the emoji world. */
export const emojiLaclip = derive(emojiClip, {
  description: "LaCLIP on the emoji world: every picture with its name or one of its rewrites",
  captions: { choose: "uniform" },
});

export const emojiLaclipMt = derive(emojiLaclip, {
  description: "LaCLIP-MT on the emoji world: every picture with its name and a rewrite at once",
  captions: twoTexts,
  objective: { name: "multi-text", denominator: "slot" },
});

export const emojiSlip = derive(emojiClip, {
  description: "SLIP on the emoji world: CLIP, and two views of a picture that must agree",
  ...views,
});

export const emojiLaslip = derive(emojiLaclip, { description: "LaSLIP on the emoji world: SLIP with the texts of LaCLIP", ...views });

/** The bias starts where a pair among 256 has its chance: log(1 / 255). */
const sigmoid = { model: { logitScale: 10, logitBias: -5.5 }, objective: { name: "sigmoid" } } as const;

export const emojiSiglip = derive(emojiClip, { description: "SigLIP on the emoji world: each pair a question of its own", ...sigmoid });

export const emojiLasiglipMt = derive(emojiLaclip, {
  description: "A sigmoid loss with several texts on the emoji world: every picture with its name and a rewrite at once",
  captions: twoTexts,
  ...sigmoid,
});

export const emojiLaclipSoft = derive(emojiLaclip, {
  description: "LaCLIP with soft targets on the emoji world: what is like a pair's picture or text is a little right too",
  objective: { name: "soft-targets", share: 0.2, temperature: 0.1 },
});
