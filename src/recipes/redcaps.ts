/**
 * The paper's methods on RedCaps, ViT-B/16 at 224 px.
 *
 *   laclip train laclip-redcaps-vit-b-16 --data 'redcaps/{00000..01199}.tar' --rewrites rewrites/redcaps --out runs/laclip-redcaps
 *
 * Expect ImageNet zero-shot top-1 of 42.9 (CLIP) and 46.2 (LaCLIP): verified, README of LijieFan/LaCLIP. LaCLIP-MT, SLIP, LaSLIP: not known
 * here.
 * The published batch is 32 GPUs x 256. Here the whole batch of 8,192 is trained in micro-batches that fit into memory, on whatever
 * machine there is; no run of this size has been made with this program.
 * Verified from the released code: optimiser, schedule, augmentation. From the article: the batch. From memory: 30 epochs, learning rate and
 * weight decay on this data set. Derived: the warm-up's steps.
 */
import { clipVitB16 } from "./laclip-vit.ts";
import { methods } from "./methods.ts";
import { derive } from "./recipe.ts";

const clip = derive(clipVitB16, {
  description: "CLIP on RedCaps: every image with its own caption",
  // An epoch of warm-up: about 12.0 million samples.
  training: { epochs: 30, batchSize: 8192, microBatch: "auto", warmupSteps: 1465 },
});

export const redcaps = methods(clip, "RedCaps");
