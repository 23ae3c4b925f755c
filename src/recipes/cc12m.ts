/**
 * The paper's methods on CC12M, ViT-B/16 at 224 px.
 *
 *   laclip train laclip-cc12m-vit-b-16 --data 'cc12m/{00000..01242}.tar' --rewrites rewrites/cc12m --out runs/laclip-cc12m
 *
 * Expect ImageNet zero-shot top-1 of 40.2 (CLIP) and 48.4 (LaCLIP): verified, README of LijieFan/LaCLIP. About 42.1 (SLIP) and 49.7
 * (LaSLIP): from memory, weak. LaCLIP-MT: not known here.
 * The published batch is 32 GPUs x 256. Here the whole batch of 8,192 is trained in micro-batches that fit into memory, on whatever
 * machine there is; no run of this size has been made with this program.
 * Verified from the released code and its command: optimiser, schedule, augmentation, learning rate, weight decay, 35 epochs. From the
 * article: the batch. Derived: the warm-up's steps.
 */
import { clipVitB16 } from "./laclip-vit.ts";
import { methods } from "./methods.ts";
import { derive } from "./recipe.ts";

const clip = derive(clipVitB16, {
  description: "CLIP on CC12M: every image with its own caption",
  // An epoch of warm-up: about 10.5 million samples.
  training: { epochs: 35, batchSize: 8192, microBatch: "auto", warmupSteps: 1280 },
});

export const cc12m = methods(clip, "CC12M");
