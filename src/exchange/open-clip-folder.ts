/**
 * Folders of open_clip, as they lie on the Hugging Face Hub: `open_clip_config.json` and weights. `create_model_from_pretrained` reads them
 * from `hf-hub:...` and `local-dir:...`.
 *
 * Models in open_clip's form have open_clip's names already. LaCLIP's image tower is timm's, and open_clip holds timm's towers under
 * `visual.trunk`, with the projection as a linear layer; options that make timm's towers equal to LaCLIP's (`timm_model_kwargs`) are known
 * to open_clip's main branch since May 2026, to no release up to 3.3.0.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeSafetensors } from "../formats/index.ts";
import {
  type ClipConfig,
  type ModelContents,
  clipConfigSchema,
  openaiPreprocessing,
  preprocessingSchema,
  weightShapes,
} from "../models/index.ts";
import { DataError, ModelFormatError, UsageError, readJson, writeFileSynced } from "../support/index.ts";
import { checkTensors } from "./check-tensors.ts";
import { transposed } from "./stored-matrices.ts";
import { type Weights, readWeightsFile } from "./weights-file.ts";

const configFile = "open_clip_config.json";

/** Weights by the names that open_clip looks for, best first. */
const weightsFiles = [
  "open_clip_model.safetensors",
  "open_clip_pytorch_model.safetensors",
  "open_clip_pytorch_model.bin",
  "model.safetensors",
  "pytorch_model.bin",
];

/** What timm's towers of LaCLIP's sizes are called, and how many heads they have. Other sizes are made of the second one. */
const timmTowers = {
  vit_small_patch16_224: { patchSize: 16, width: 384, depth: 12, heads: 6 },
  vit_base_patch16_224: { patchSize: 16, width: 768, depth: 12, heads: 12 },
  vit_base_patch32_224: { patchSize: 32, width: 768, depth: 12, heads: 12 },
  vit_large_patch16_224: { patchSize: 16, width: 1024, depth: 24, heads: 16 },
} as const;

const anyTower: keyof typeof timmTowers = "vit_base_patch16_224";
const timmImageSize = 224;
const headWidth = 64;

/** Whether a folder is one of open_clip's. */
export function isOpenClipFolder(folder: string): boolean {
  return existsSync(join(folder, configFile));
}

/**
 * Writes the files of such a folder.
 * @throws UsageError when open_clip has no such model
 */
export function writeOpenClip(folder: string, { config, preprocessing, weights }: ModelContents): void {
  const { mean, std, interpolation } = preprocessing;
  const description = { model_cfg: modelConfig(config), preprocess_cfg: { mean, std, interpolation, resize_mode: "shortest" } };
  writeSafetensors(join(folder, weightsFiles[0]!), openClipNames(config, weights), { format: "pt" });
  writeFileSynced(join(folder, configFile), `${JSON.stringify(description, null, 2)}\n`);
}

function modelConfig({ jointWidth, vision, text, logitScale, logitBias }: ClipConfig): Record<string, unknown> {
  const { form = "laclip", imageSize, patchSize, width, depth, heads, activation = "gelu" } = vision;
  const textActivation = text.activation ?? "quick-gelu";
  if (form === "open-clip" && activation !== textActivation) {
    throw new UsageError(
      `open_clip has one activation for both towers; this model has ${activation} for images and ${textActivation} for texts.`,
    );
  }
  const ownHeads = width / heads === headWidth ? {} : { head_width: width / heads };
  const visionConfig =
    form === "open-clip" ? { image_size: imageSize, layers: depth, width, patch_size: patchSize, ...ownHeads } : timmConfig(vision);
  return {
    embed_dim: jointWidth,
    ...(textActivation === "quick-gelu" && { quick_gelu: true }),
    // The scale starts where the weights have it; without a bias here, open_clip would have none.
    ...(logitScale !== undefined && { init_logit_scale: Math.log(logitScale) }),
    ...(logitBias !== undefined && { init_logit_bias: logitBias }),
    vision_cfg: visionConfig,
    text_cfg: {
      context_length: text.contextLength,
      vocab_size: text.vocabularySize,
      width: text.width,
      heads: text.heads,
      layers: text.depth,
    },
  };
}

function timmConfig({ imageSize, patchSize, width, depth, heads, qkNorm, activation = "gelu" }: ClipConfig["vision"]): object {
  const same = Object.entries(timmTowers).find(
    ([, tower]) => tower.patchSize === patchSize && tower.width === width && tower.depth === depth,
  );
  const [name, tower] = same ?? [anyTower, timmTowers[anyTower]];
  const differing = {
    ...(imageSize !== timmImageSize && { img_size: imageSize }),
    ...(patchSize !== tower.patchSize && { patch_size: patchSize }),
    ...(width !== tower.width && { embed_dim: width }),
    ...(depth !== tower.depth && { depth }),
    ...(heads !== tower.heads && { num_heads: heads }),
    ...(qkNorm && { qk_norm: true }),
    ...(activation === "quick-gelu" && { act_layer: "quick_gelu" }),
  };
  return {
    image_size: imageSize,
    timm_model_name: name,
    timm_model_pretrained: false,
    timm_pool: "token",
    timm_proj: "linear",
    ...(Object.keys(differing).length > 0 && { timm_model_kwargs: differing }),
  };
}

function openClipNames({ vision }: ClipConfig, weights: ModelContents["weights"]): Weights {
  const renamed: Weights = new Map();
  for (const [name, tensor] of weights) {
    // The head of SimCLR's loss serves training alone.
    if (name.startsWith("image_mlp.")) continue;
    if (vision.form === "open-clip") renamed.set(name, tensor);
    else if (name === "image_projection") renamed.set("visual.head.proj.weight", transposed(tensor));
    else renamed.set(name.replace(/^visual\./, "visual.trunk."), tensor);
  }
  return renamed;
}

/**
 * The model in such a folder.
 * @throws DataError when it has no weights; ModelFormatError when a file is damaged, or the model is of a kind that is not known here
 */
export async function readOpenClip(folder: string): Promise<ModelContents> {
  const path = join(folder, configFile);
  const { model_cfg: model, preprocess_cfg: images } = checked(path, folderSchema, readJson(path, "description of a model"));
  const config = ourConfig(model, path);
  const file = weightsFiles.map((name) => join(folder, name)).find((candidate) => existsSync(candidate));
  if (file === undefined) throw new DataError(`${folder}: there are no weights in it, such as ${weightsFiles[0]}.`);
  const { weights } = await readWeightsFile(file);
  const { resize_mode: _, ...preprocessing } = images;
  return { config, preprocessing, weights: checkTensors(ourNames(config, weights), weightShapes(config), file) };
}

function ourNames({ vision }: ClipConfig, weights: Weights): Weights {
  if (vision.form === "open-clip") return weights;
  const renamed: Weights = new Map();
  for (const [name, tensor] of weights) {
    if (name === "visual.head.proj.weight" && tensor.shape.length === 2) renamed.set("image_projection", transposed(tensor));
    else renamed.set(name.replace(/^visual\.trunk\./, "visual."), tensor);
  }
  return renamed;
}

function ourConfig(model: z.infer<typeof modelSchema>, path: string): ClipConfig {
  const { embed_dim: jointWidth, text_cfg: text, init_logit_scale: scale, init_logit_bias: bias } = model;
  const activation = model.quick_gelu ? "quick-gelu" : "gelu";
  return checked(path, clipConfigSchema, {
    jointWidth,
    vision: ourVision(model.vision_cfg, activation, path),
    text: {
      contextLength: text.context_length,
      vocabularySize: text.vocab_size,
      width: text.width,
      depth: text.layers,
      heads: text.heads,
      activation,
    },
    ...(scale !== undefined && scale >= 0 && scale <= Math.log(100) && { logitScale: Math.exp(scale) }),
    ...(typeof bias === "number" && { logitBias: bias }),
  });
}

function ourVision(given: Record<string, unknown>, activation: "gelu" | "quick-gelu", path: string): ClipConfig["vision"] {
  if (given["timm_model_name"] === undefined) {
    const {
      image_size: imageSize,
      patch_size: patchSize,
      width,
      layers: depth,
      head_width: head,
    } = checked(path, nativeSchema, given, "model_cfg.vision_cfg");
    return { form: "open-clip", imageSize, patchSize, width, depth, heads: Math.floor(width / head), qkNorm: false, activation };
  }
  const { timm_model_name: name, timm_model_kwargs: own } = checked(path, timmSchema, given, "model_cfg.vision_cfg");
  const tower = timmTowers[name];
  return {
    // Of timm's towers it is these options that count; the size beside them only says how images are made ready.
    imageSize: own.img_size ?? timmImageSize,
    patchSize: own.patch_size ?? tower.patchSize,
    width: own.embed_dim ?? tower.width,
    depth: own.depth ?? tower.depth,
    heads: own.num_heads ?? tower.heads,
    qkNorm: own.qk_norm,
    activation: own.act_layer === "quick_gelu" ? "quick-gelu" : "gelu",
  };
}

/** What models may be trained with or without, the same weights in the end. */
const trainingOnly: ReadonlySet<string> = new Set(["patch_dropout", "timm_model_pretrained", "timm_drop", "timm_drop_path"]);

/**
 * An object with these keys. Others of open_clip's options stand for what our models don't have; they may be there, but switched off: null,
 * false, zero, or the value in `usual`.
 */
function known<Shape extends z.ZodRawShape>(shape: Shape, usual: Readonly<Record<string, unknown>> = {}) {
  return z.looseObject(shape).superRefine((given: Record<string, unknown>, context) => {
    for (const [key, value] of Object.entries(given)) {
      if (Object.hasOwn(shape, key) || trainingOnly.has(key) || !value || value === usual[key]) continue;
      context.addIssue({ code: "custom", path: [key], message: `models with ${JSON.stringify(value)} here are not known` });
    }
  });
}

const size = z.number().int().positive();
/** open_clip takes a side, or height and width. */
const side = z.union([
  size,
  z
    .tuple([size, size])
    .refine(([height, width]) => height === width, "images and patches are square here")
    .transform(([height]) => height),
]);

const nativeSchema = known(
  {
    image_size: side.default(timmImageSize),
    layers: z
      .number({ error: "must be the number of a vision transformer's blocks; ResNets, which have several, are not known" })
      .pipe(size)
      .default(12),
    width: size.default(768),
    head_width: size.default(headWidth),
    patch_size: side.default(16),
  },
  { mlp_ratio: 4, pool_type: "tok", pos_embed_type: "learnable", block_type: "default", timm_pool: "avg", timm_proj: "linear" },
);

const timmSchema = known({
  image_size: side.optional(),
  timm_model_name: z.enum(Object.keys(timmTowers) as [keyof typeof timmTowers]),
  timm_pool: z.literal("token"),
  timm_proj: z.literal("linear").default("linear"),
  timm_model_kwargs: z
    .strictObject({
      img_size: size.optional(),
      patch_size: size.optional(),
      embed_dim: size.optional(),
      depth: size.optional(),
      num_heads: size.optional(),
      qk_norm: z.boolean().default(false),
      act_layer: z.enum(["gelu", "quick_gelu"]).default("gelu"),
    })
    .prefault({}),
});

const textSchema = known(
  {
    context_length: size.default(77),
    vocab_size: size.default(49_408),
    width: size.default(512),
    heads: size.default(8),
    layers: size.default(12),
  },
  { mlp_ratio: 4, text_arch: "clip", pool_type: "argmax", proj_type: "linear", block_type: "default" },
);

const modelSchema = known({
  embed_dim: size,
  quick_gelu: z.boolean().default(false),
  init_logit_scale: z.number().optional(),
  init_logit_bias: z.number().nullish(),
  vision_cfg: z.record(z.string(), z.unknown()),
  text_cfg: textSchema,
});

const folderSchema = z.object({
  model_cfg: modelSchema,
  preprocess_cfg: preprocessingSchema
    .partial()
    .extend({ resize_mode: z.literal("shortest").default("shortest") })
    .prefault({})
    .transform((images) => ({ ...openaiPreprocessing, ...images })),
});

function checked<Schema extends z.ZodType>(path: string, schema: Schema, value: unknown, under = ""): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ModelFormatError(
    `${path}${under === "" ? "" : `, ${under}`}: not a model that is known here.\n${z.prettifyError(parsed.error)}`,
  );
}
