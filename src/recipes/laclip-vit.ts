/**
 * LaCLIP's released trainer on one machine: ViT-B/16, 224 px (train.py and README of LijieFan/LaCLIP).
 *
 *   laclip train laclip-vit-b-16 --data captions.csv --images images --rewrites rewrites --out runs/laclip
 *
 * Verified from the released code: optimiser, schedule, augmentation, weight decay, learning rate, 35 epochs of CC12M. The published
 * batch is 8,192 on 32 GPUs; one process here holds far less, so the learning rate must be lowered with the batch.
 */
import { imagenetPreprocessing } from "../models/index.ts";
import { type Recipe, derive } from "./recipe.ts";

/** What the trainer does alike for every data set. */
export const laclipTrainer: { images: Recipe["images"]; optimizer: Omit<Recipe["optimizer"], "weightDecay"> } = {
  images: { scale: [0.5, 1], ...imagenetPreprocessing },
  optimizer: { peakLr: 1e-3, startLr: 1e-6, endLr: 1e-5, betas: [0.9, 0.98], eps: 1e-8 },
};

export const clipVitB16: Recipe = {
  description: "CLIP, ViT-B/16 in LaCLIP's form: every image with its own caption",
  model: { preset: "vit-b-16" },
  captions: { choose: "original" },
  images: laclipTrainer.images,
  optimizer: { ...laclipTrainer.optimizer, weightDecay: 0.5 },
  training: {
    epochs: 35,
    batchSize: 256,
    warmupSteps: 2000,
    precision: "bf16",
    seed: 0,
    checkpointEvery: 500,
    keepCheckpoints: 3,
    logEvery: 10,
  },
};

export const laclipVitB16 = derive(clipVitB16, {
  description: "LaCLIP, ViT-B/16: every image with its caption or one of the rewrites, each with the same chance",
  captions: { choose: "uniform" },
});
