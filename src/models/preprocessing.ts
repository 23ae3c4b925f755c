/** From uint8 pixels to what the image tower reads. */
import { z } from "zod";
import { Tensor, arange, cat, full, ops, scope } from "../torch/index.ts";

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

/** Images as bytes, and what makes them ready: all that the image tower needs. */
export interface ByteImages {
  /** uint8 `[B, S, S, 3]`, RGB */
  bytes: Tensor;
  preprocessing: Preprocessing;
}

/**
 * @param pixels uint8, `count` images of `size` x `size` x 3 (RGB) one after the other; or such a tensor `[count, size, size, 3]`, on `device`
 */
export function byteImages(
  pixels: Uint8Array | Tensor,
  count: number,
  size: number,
  preprocessing: Preprocessing,
  device = "cpu",
): ByteImages {
  return { bytes: pixels instanceof Tensor ? pixels : Tensor.from(pixels, [count, size, size, 3], { device }), preprocessing };
}

/** Factor and sum, float32 `[3]` each, that make a byte of each colour (byte / 255 - mean) / std. */
function linear({ mean, std }: Preprocessing, device: string): [scale: Tensor, shift: Tensor] {
  // Made there, since what comes from here can't be part of a graph (see `Graph`).
  const colours = (value: (colour: number) => number): Tensor => cat([0, 1, 2].map((colour) => full([1], value(colour), { device })));
  return [colours((colour) => 1 / (255 * std[colour]!)), colours((colour) => -mean[colour]! / std[colour]!)];
}

/** `[B, 3, S, S]` float32: (byte / 255 - mean) / std */
export function normalizeImages({ bytes, preprocessing }: ByteImages): Tensor {
  return scope(() => {
    const [scale, shift] = linear(preprocessing, bytes.device).map((colours) => colours.view(1, 3, 1, 1)) as [Tensor, Tensor];
    return ops.addTensor(bytes.permute(0, 3, 1, 2).to("float32").mul(scale), shift).contiguous();
  });
}

/** float32 `[3, 256]`: what `normalizeImages` makes of each byte of each colour. */
export function normalizedBytes(preprocessing: Preprocessing, device: string): Tensor {
  return scope(() => {
    const [scale, shift] = linear(preprocessing, device).map((colours) => colours.view(3, 1)) as [Tensor, Tensor];
    return ops.addTensor(arange(0, 256, { device, dtype: "float32" }).mul(scale), shift);
  });
}
