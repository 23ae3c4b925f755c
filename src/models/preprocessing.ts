/** From uint8 pixels to what the image tower reads. */
import { z } from "zod";
import { type ColourScales, Tensor, cat, full, ops, scope } from "../torch/index.ts";

/** How images are made ready; stored with the model, since other values silently cost accuracy. */
export const preprocessingSchema = z.strictObject({
  /** Per channel, of pixels in 0..1. */
  mean: z.tuple([z.number(), z.number(), z.number()]),
  std: z.tuple([z.number().positive(), z.number().positive(), z.number().positive()]),
  interpolation: z.enum(["bilinear", "bicubic"]),
});

/** How pixels are resized and normalised before the image tower. */
export type Preprocessing = z.infer<typeof preprocessingSchema>;

/** Means and deviations of ImageNet, which LaCLIP and SLIP train with, and their bilinear resize. */
export const imagenetPreprocessing: Preprocessing = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], interpolation: "bilinear" };

/** Means and deviations of OpenAI's CLIP, which open_clip and LaCLIP on LAION-400M train with, and their bicubic resize. */
export const openaiPreprocessing: Preprocessing = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  interpolation: "bicubic",
};

/** Images as bytes, and what makes them ready: all that the image tower needs. */
export interface ByteImages {
  /** uint8 `[B, S, S, 3]`, RGB */
  bytes: Tensor;
  preprocessing: Preprocessing;
}

/** Brings to the device `count` images of `size` x `size` x 3 (RGB), which lie one after the other. */
export function byteImages(pixels: Uint8Array, count: number, size: number, preprocessing: Preprocessing, device = "cpu"): ByteImages {
  return { bytes: Tensor.from(pixels, [count, size, size, 3], { device }), preprocessing };
}

/** What makes a byte of each colour (byte / 255 - mean) / std. */
export function colourScales({ mean, std }: Preprocessing): ColourScales {
  const of = (value: (colour: 0 | 1 | 2) => number): [number, number, number] => [value(0), value(1), value(2)];
  return { scale: of((colour) => 1 / (255 * std[colour])), shift: of((colour) => -mean[colour] / std[colour]) };
}

/** `[B, 3, S, S]` float32: (byte / 255 - mean) / std */
export function normalizeImages({ bytes, preprocessing }: ByteImages): Tensor {
  return scope(() => {
    const { scale, shift } = colourScales(preprocessing);
    // Made there, since what comes from here can't be part of a graph (see `Graph`).
    const there = (colours: readonly number[]): Tensor =>
      cat(colours.map((value) => full([1], value, { device: bytes.device }))).view(1, 3, 1, 1);
    return ops.addTensor(bytes.permute(0, 3, 1, 2).to("float32").mul(there(scale)), there(shift)).contiguous();
  });
}
