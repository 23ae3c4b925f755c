/** What a CLIP model is made of, as plain data: what a model folder stores and a recipe names. */
import { z } from "zod";

const size = z.number().int().positive();

/** More blocks than any model has: names of weights are made for each, before a weight is looked at. */
const depth = size.max(1000);

/** "gelu" is exact; "quick-gelu" is OpenAI's approximation. Weights go with the one they were trained with. */
export const activationSchema = z.enum(["gelu", "quick-gelu"]);

/** Image tower: a vision transformer (Dosovitskiy et al. 2021). */
const visionConfigSchema = z.strictObject({
  /**
   * "laclip", the default: timm's transformer, as LaCLIP trains it on CC3M, CC12M and RedCaps. "open-clip": OpenAI's and open_clip's own,
   * with a norm before the blocks and patches without bias; LaCLIP's models of LAION-400M have it. Names of weights differ too.
   */
  form: z.enum(["laclip", "open-clip"]).optional(),
  /** Side of the square image in pixels; a multiple of the patch. */
  imageSize: size,
  /** Side of a patch in pixels. */
  patchSize: size,
  width: size,
  depth,
  heads: size,
  /** LayerNorm on each head's query and key. LaCLIP's image tower has it, SLIP's and OpenAI's have not. */
  qkNorm: z.boolean(),
  /** Default "gelu". */
  activation: activationSchema.optional(),
});

/** Text tower: a causal transformer, pooled at the end-of-text token. */
const textConfigSchema = z.strictObject({
  /** Tokens of the longest text, start and end included. */
  contextLength: size,
  vocabularySize: size,
  width: size,
  depth,
  heads: size,
  /** Default "quick-gelu". */
  activation: activationSchema.optional(),
});

/** Three linear layers over the image tower: width of the two between, and of the last. */
const viewHeadConfigSchema = z.strictObject({ hidden: size, width: size });

/** Checks a model's shape, and that its sizes go together. */
export const clipConfigSchema = z
  .strictObject({
    /** Width of the space that both towers project into. */
    jointWidth: size,
    vision: visionConfigSchema,
    text: textConfigSchema,
    /** Where the factor on cosine similarities starts. Default 1 / 0.07, as in CLIP. */
    logitScale: z.number().min(1).max(100).optional(),
    /** With it, the model learns what is added to every similarity, from this value on: sigmoid losses need it. */
    logitBias: z.number().optional(),
    /** With it, the model has a head for SimCLR's loss, which is used in training only. */
    viewHead: viewHeadConfigSchema.optional(),
  })
  .refine(({ vision }) => vision.imageSize % vision.patchSize === 0, "imageSize must be a multiple of patchSize")
  .refine(({ vision }) => !(vision.qkNorm && vision.form === "open-clip"), "qkNorm is there in the form laclip alone")
  .refine(({ vision, text }) => vision.width % vision.heads === 0 && text.width % text.heads === 0, "width must be a multiple of heads");

/** Shape of the image tower. */
export type VisionConfig = z.infer<typeof visionConfigSchema>;

/** Shape of the text tower. */
export type TextConfig = z.infer<typeof textConfigSchema>;

/** Shape of the head for SimCLR's loss. */
export type ViewHeadConfig = z.infer<typeof viewHeadConfigSchema>;

/** Shape of a whole model. */
export type ClipConfig = z.infer<typeof clipConfigSchema>;
