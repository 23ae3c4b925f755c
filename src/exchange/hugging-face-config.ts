/**
 * How Hugging Face's transformers describes a CLIP model and its images, in both directions: `config.json` and `preprocessor_config.json`,
 * or `processor_config.json`, into which transformers 5 puts the same.
 *
 * Keys that a file leaves out have the values of `CLIPConfig` and `CLIPImageProcessor` of transformers 5.18; null is no value, unlike there.
 * What would compute something else than our towers do is refused, key by key.
 */
import { z } from "zod";
import { type ClipConfig, type Preprocessing, clipConfigSchema, openaiPreprocessing, preprocessingSchema } from "../models/index.ts";
import { ModelFormatError, UsageError, isRecord } from "../support/index.ts";
import { endOfText, startOfText } from "../text/index.ts";

const toOpenClip = "Write it for open_clip, which can hold it: `--to open-clip`.";

/** The end of texts in files from before 2023; then the largest id of a text is its end, as it always is to our towers. */
const legacyEnd = 2;

/** ln(1 / 0.07) as transformers rounds it. */
const usualScale = 2.6592;

/** `config.json` of a model. @throws UsageError for a model that `CLIPModel` has no place for */
export function huggingFaceConfig({ jointWidth, vision, text, logitScale, logitBias }: ClipConfig): Record<string, unknown> {
  if (vision.form !== "open-clip") {
    throw new UsageError(
      `Hugging Face's CLIPModel has no place for an image tower in LaCLIP's form: it has a norm before its blocks, ${
        vision.qkNorm ? "none of queries and keys, " : ""
      }and no bias of patches.`,
      { mend: toOpenClip },
    );
  }
  if (logitBias !== undefined) {
    throw new UsageError("Hugging Face's CLIPModel has no place for a logit bias, which this model has learnt for a sigmoid loss.", {
      mend: toOpenClip,
    });
  }
  const tower = ({ width, depth, heads }: ClipConfig["vision" | "text"], activation: "gelu" | "quick-gelu"): Record<string, unknown> => ({
    hidden_size: width,
    intermediate_size: 4 * width,
    num_hidden_layers: depth,
    num_attention_heads: heads,
    hidden_act: activation === "gelu" ? "gelu" : "quick_gelu",
    layer_norm_eps: 1e-5,
    attention_dropout: 0,
    projection_dim: jointWidth,
  });
  // The text tower is pooled at the first of these ends. Padding is of the same id, as the tokenizer pads, and lies behind it.
  const known = text.vocabularySize > endOfText;
  const [start, end] = known ? [startOfText, endOfText] : [text.vocabularySize - 2, text.vocabularySize - 1];
  return {
    architectures: ["CLIPModel"],
    model_type: "clip",
    projection_dim: jointWidth,
    logit_scale_init_value: logitScale === undefined ? usualScale : Math.log(logitScale),
    text_config: {
      model_type: "clip_text_model",
      ...tower(text, text.activation ?? "quick-gelu"),
      vocab_size: text.vocabularySize,
      max_position_embeddings: text.contextLength,
      bos_token_id: start,
      eos_token_id: end,
      pad_token_id: end,
    },
    vision_config: {
      model_type: "clip_vision_model",
      ...tower(vision, vision.activation ?? "gelu"),
      image_size: vision.imageSize,
      patch_size: vision.patchSize,
      num_channels: 3,
    },
    torch_dtype: "float32",
  };
}

const size = z.number().int().positive();

/** Keys that both towers have. */
const towerKeys = (width: number, heads: number) => ({
  hidden_size: size.default(width),
  intermediate_size: size.default(4 * width),
  // More than any model has; names of weights are made for each, before a weight is looked at.
  num_hidden_layers: size.max(1000).default(12),
  num_attention_heads: size.default(heads),
  hidden_act: z.enum(["quick_gelu", "gelu"]).default("quick_gelu"),
  layer_norm_eps: z.literal(1e-5).default(1e-5),
});

type Sizes = Record<"hidden_size" | "intermediate_size", number>;
const isFourfold = (tower: Sizes): boolean => tower.intermediate_size === 4 * tower.hidden_size;
const fourfold = { path: ["intermediate_size"], error: "must be four times hidden_size, which is all that our towers have" };

const textSchema = z
  .object({
    ...towerKeys(512, 8),
    vocab_size: size.default(49408),
    max_position_embeddings: size.default(77),
    eos_token_id: z.number().int().default(endOfText),
  })
  .refine(isFourfold, fourfold)
  .refine(({ eos_token_id: end, vocab_size: count }) => end === legacyEnd || end === count - 1 || (end === endOfText && end < count), {
    path: ["eos_token_id"],
    error: `must be the largest id that texts have (or ${legacyEnd}, which old files say for it): our towers take it for the end`,
  });

const visionSchema = z
  .object({
    ...towerKeys(768, 12),
    image_size: size.default(224),
    patch_size: size.default(32),
    num_channels: z.literal(3).default(3),
  })
  .refine(isFourfold, fourfold);

const configSchema = z.object({
  text_config: textSchema,
  vision_config: visionSchema,
  projection_dim: size.default(512),
  logit_scale_init_value: z.number().default(usualScale),
});

/**
 * The shape that a `config.json` tells.
 * @param path of the file, for messages
 * @throws ModelFormatError for another type of model, and for one that our towers can't be
 */
export function readHuggingFaceConfig(content: unknown, path: string): ClipConfig {
  if (!isRecord(content) || content.model_type !== "clip") {
    const found = isRecord(content) && content.model_type !== undefined ? JSON.stringify(content.model_type) : "none";
    throw new ModelFormatError(`${path}: expected the description of a CLIPModel, model_type "clip"; got ${found}.`, {
      mend: "Only CLIP itself is read: no other family, and no tower alone.",
    });
  }
  // Old files say all of a tower a second time, and transformers goes by that.
  const of = (name: "text_config" | "vision_config"): unknown => content[`${name}_dict`] ?? content[name] ?? {};
  const told = { ...content, text_config: of("text_config"), vision_config: of("vision_config") };
  const parsed = configSchema.safeParse(told);
  if (!parsed.success) throw new ModelFormatError(`${path}: this is no CLIP model that can be read.\n${z.prettifyError(parsed.error)}`);
  const { text_config: text, vision_config: vision, projection_dim: jointWidth, logit_scale_init_value: scale } = parsed.data;
  const tower = ({ hidden_size, num_hidden_layers, num_attention_heads, hidden_act }: typeof text | typeof vision) => ({
    width: hidden_size,
    depth: num_hidden_layers,
    heads: num_attention_heads,
    activation: hidden_act === "gelu" ? "gelu" : "quick-gelu",
  });
  const logitScale = scaleOf(scale);
  const config = clipConfigSchema.safeParse({
    jointWidth,
    vision: { form: "open-clip", imageSize: vision.image_size, patchSize: vision.patch_size, ...tower(vision), qkNorm: false },
    text: { contextLength: text.max_position_embeddings, vocabularySize: text.vocab_size, ...tower(text) },
    ...(logitScale !== undefined && { logitScale }),
  });
  if (!config.success) throw new ModelFormatError(`${path}: these sizes make no model.\n${z.prettifyError(config.error)}`);
  return config.data;
}

/** Where the scale of a new model starts; undefined for CLIP's own, and for what no training starts with here: the weights have their own. */
function scaleOf(logarithm: number): number | undefined {
  if (Math.abs(logarithm - usualScale) < 1e-3) return undefined;
  const scale = Number(Math.exp(logarithm).toPrecision(12));
  return scale >= 1 && scale <= 100 ? scale : undefined;
}

/** Numbers of Pillow's filters. */
const filters = { bilinear: 2, bicubic: 3 } as const;

/** `preprocessor_config.json`: how `CLIPImageProcessor` makes images ready. */
export function huggingFacePreprocessing({ mean, std, interpolation }: Preprocessing, imageSize: number): Record<string, unknown> {
  return {
    image_processor_type: "CLIPImageProcessor",
    do_convert_rgb: true,
    do_resize: true,
    size: { shortest_edge: imageSize },
    resample: filters[interpolation],
    do_center_crop: true,
    crop_size: { height: imageSize, width: imageSize },
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: mean,
    image_std: std,
  };
}

/**
 * How images are made ready, by a `preprocessor_config.json`.
 * @param imageSize pixels of the model's images, which those of the file have to be
 * @param path of the file, for messages
 * @throws ModelFormatError for what would give the model other images than ours
 */
export function readHuggingFacePreprocessing(content: unknown, imageSize: number, path: string): Preprocessing {
  const always = z.literal(true).default(true);
  const { mean, std } = preprocessingSchema.shape;
  const own = z.literal(imageSize);
  const parsed = z
    .object({
      do_resize: always,
      do_center_crop: always,
      do_rescale: always,
      do_normalize: always,
      // Old files have a number for both.
      size: z.union([own, z.object({ shortest_edge: own })], { error: `must be {"shortest_edge": ${imageSize}}` }).default(imageSize),
      crop_size: z
        .union([own, z.object({ height: own, width: own })], { error: `must be {"height": ${imageSize}, "width": ${imageSize}}` })
        .default(imageSize),
      resample: z.union([z.literal(filters.bilinear), z.literal(filters.bicubic)]).default(filters.bicubic),
      rescale_factor: z
        .number()
        .refine((factor) => Math.abs(255 * factor - 1) < 1e-6, "must be 1/255")
        .default(1 / 255),
      image_mean: mean.default(openaiPreprocessing.mean),
      image_std: std.default(openaiPreprocessing.std),
    })
    .safeParse(content);
  if (!parsed.success) {
    throw new ModelFormatError(`${path}: images can't be made ready in this way here.\n${z.prettifyError(parsed.error)}`, {
      mend: "They are resized by their shortest side to the size of the model, cut to a square there and normalised. If that is near enough, change the file; results differ a little then.",
    });
  }
  const { image_mean, image_std, resample } = parsed.data;
  return { mean: image_mean, std: image_std, interpolation: resample === filters.bilinear ? "bilinear" : "bicubic" };
}
