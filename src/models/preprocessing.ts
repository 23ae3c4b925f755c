/** From uint8 pixels to what the image tower reads. */
import { z } from "zod";
import { Tensor, cat, full, ops, scope } from "../torch/index.ts";

/** How images are made ready; stored with the model, since other values silently cost accuracy. */
export const preprocessingSchema = z.strictObject({
  /** Per channel, of pixels in 0..1. */
  mean: z.tuple([z.number(), z.number(), z.number()]),
  std: z.tuple([z.number().positive(), z.number().positive(), z.number().positive()]),
  interpolation: z.enum(["bilinear", "bicubic"]),
});

export type Preprocessing = z.infer<typeof preprocessingSchema>;

/** Means and deviations of ImageNet, which LaCLIP and SLIP train with, and their bilinear resize. */
export const imagenetPreprocessing: Preprocessing = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], interpolation: "bilinear" };

/**
 * @param pixels uint8, `count` images of `size` x `size` x 3 (RGB) one after the other; or such a tensor `[count, size, size, 3]`, on `device`
 * @returns `[count, 3, size, size]` float32: (pixel / 255 - mean) / std
 */
export function normalizeImages(
  pixels: Uint8Array | Tensor,
  count: number,
  size: number,
  { mean, std }: Preprocessing,
  device = "cpu",
): Tensor {
  return scope(() => {
    const bytes = pixels instanceof Tensor ? pixels : Tensor.from(pixels, [count, size, size, 3], { device });
    const images = bytes.permute(0, 3, 1, 2);
    // Made there, since what comes from here can't be part of a graph (see `Graph`).
    const channels = (value: (channel: number) => number): Tensor =>
      cat(
        [0, 1, 2].map((channel) => full([1, 1, 1, 1], value(channel), { device })),
        1,
      );
    const scale = channels((channel) => 1 / (255 * std[channel]!));
    const shift = channels((channel) => -mean[channel]! / std[channel]!);
    return ops.addTensor(images.to("float32").mul(scale), shift).contiguous();
  });
}
