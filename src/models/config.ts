/** What a CLIP model is made of, as plain data: what a model folder stores and a recipe names. */
import { z } from "zod";

const size = z.number().int().positive();

/** Image tower: a vision transformer (Dosovitskiy et al. 2021) in timm's form. */
export const visionConfigSchema = z.strictObject({
  /** Side of the square image in pixels; a multiple of the patch. */
  imageSize: size,
  /** Side of a patch in pixels. */
  patchSize: size,
  width: size,
  depth: size,
  heads: size,
  /** LayerNorm on each head's query and key. LaCLIP's image tower has it, SLIP's and OpenAI's have not. */
  qkNorm: z.boolean(),
});

/** Text tower: a causal transformer, pooled at the end-of-text token. */
export const textConfigSchema = z.strictObject({
  /** Tokens of the longest text, start and end included. */
  contextLength: size,
  vocabularySize: size,
  width: size,
  depth: size,
  heads: size,
});

export const clipConfigSchema = z
  .strictObject({
    /** Width of the space that both towers project into. */
    jointWidth: size,
    vision: visionConfigSchema,
    text: textConfigSchema,
  })
  .refine(({ vision }) => vision.imageSize % vision.patchSize === 0, "imageSize must be a multiple of patchSize")
  .refine(({ vision, text }) => vision.width % vision.heads === 0 && text.width % text.heads === 0, "width must be a multiple of heads");

export type VisionConfig = z.infer<typeof visionConfigSchema>;
export type TextConfig = z.infer<typeof textConfigSchema>;
export type ClipConfig = z.infer<typeof clipConfigSchema>;
