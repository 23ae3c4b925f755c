/**
 * The paper's methods on CC3M, ViT-B/16 at 224 px.
 *
 *   laclip train laclip-cc3m-vit-b-16 --data 'cc3m/{00000..00331}.tar' --rewrites rewrites/cc3m --out runs/laclip-cc3m
 *
 * Expect ImageNet zero-shot top-1 of 15.8 (CLIP) and 21.5 (LaCLIP): verified, README of LijieFan/LaCLIP. LaCLIP-MT, SLIP, LaSLIP: not known
 * here.
 * The published batch is 32 GPUs x 256. Here the whole batch of 8,192 is trained in micro-batches that fit into memory, on whatever
 * machine there is; no run of this size has been made with this program.
 * Verified from the released code: optimiser, schedule, augmentation. From the article: the batch. From memory: 40 epochs, learning rate and
 * weight decay on this data set. Derived: the warm-up's steps.
 */
import { clipVitB16 } from "./laclip-vit.ts";
import { methods } from "./methods.ts";
import { derive } from "./recipe.ts";

const clip = derive(clipVitB16, {
  description: "CLIP on CC3M: every image with its own caption",
  // An epoch of warm-up: about 2.9 million samples.
  training: { epochs: 40, batchSize: 8192, microBatch: "auto", warmupSteps: 354 },
});

export const cc3m = methods(clip, "CC3M");
