/**
 * Weights without a description, as LaCLIP, SLIP and OpenAI give them away and as training leaves them: what model they are of follows
 * from their names and shapes. What does not show there - how many heads, which activation - follows from whose they are, or is asked for.
 */
import { ModelFormatError, UsageError } from "../support/index.ts";
import {
  type ClipConfig,
  type ModelContents,
  type Preprocessing,
  type TextConfig,
  type VisionConfig,
  imagenetPreprocessing,
  openaiPreprocessing,
  weightShapes,
} from "../models/index.ts";
import { vocabularySize as clipVocabularySize } from "../text/index.ts";
import { checkTensors } from "./check-tensors.ts";
import type { Weights, WeightsFile } from "./weights-file.ts";

/** What weights don't show. Default: what is known of models with such names and sizes. */
export interface Unseen {
  /** Attention heads of the towers. */
  heads?: { image: number; text: number } | undefined;
  /** Of both towers of a model with open_clip's names, since they are trained with the one or the other. */
  activation?: "gelu" | "quick-gelu" | undefined;
  /** How images are made ready. Default ImageNet's values for LaCLIP's and SLIP's names, OpenAI's for open_clip's. */
  preprocessing?: Preprocessing | undefined;
}

/** Heads of towers by their width, of models that are published: the weights of a tower are the same for any number. */
const knownHeads = {
  /** OpenAI's and open_clip's up to H/14; wider ones differ among themselves. */
  image: new Map([
    [384, 6],
    [512, 8],
    [640, 10],
    [768, 12],
    [896, 14],
    [1024, 16],
    [1280, 16],
  ]),
  /** SLIP's S, B and L. In LaCLIP's the norms of queries show it. */
  slip: new Map([
    [384, 12],
    [768, 12],
    [1024, 16],
  ]),
  text: new Map([256, 384, 512, 640, 768, 896, 1024, 1280].map((width) => [width, width / 64])),
};

/** No model has so many; whoever knows better is asked. */
const unknownHeads = 0;

/** What OpenAI's files have among the weights. */
const notWeights = ["input_resolution", "context_length", "vocab_size"];

/** Programs have it among their weights, or among those of each block; other files don't. */
const mask = /(^|\.)attn_mask$/;

/**
 * The model of a file of weights.
 * @param origin the file, for messages
 * @throws ModelFormatError when they are no CLIP model's that is known here; UsageError when something must be said that they don't show
 */
export function describeWeights(file: WeightsFile, unseen: Unseen, origin: string): ModelContents {
  const weights = new Map([...file.weights].filter(([name]) => !notWeights.includes(name) && !(file.isScript && mask.test(name))));
  if (weights.has("visual.cls_token")) return laclip(weights, unseen, origin);
  const byOpenai = file.isScript && notWeights.every((name) => file.weights.has(name));
  if (weights.has("visual.class_embedding")) return openClip(weights, byOpenai, unseen, origin);
  const first = [...weights.keys()].slice(0, 5).join(", ");
  const mend =
    weights.has("visual.trunk.cls_token") || [...weights.keys()].some((name) => name.startsWith("vision_model."))
      ? "Give the folder that they lie in, with its description (open_clip_config.json or config.json)."
      : "Known are the names of LaCLIP, SLIP, OpenAI and open_clip, with a vision transformer.";
  throw new ModelFormatError(`${origin}: these are not the weights of a CLIP model that is known here: ${first}, ...`, { mend });
}

/** LaCLIP and SLIP: timm's names. The image tower has exact GELU, the text tower QuickGELU. */
function laclip(given: Weights, unseen: Unseen, origin: string): ModelContents {
  const shape = shapesOf(given, origin);
  const [width, , patchSize] = shape("visual.patch_embed.proj.weight", 4);
  const [, tokens] = shape("visual.pos_embed", 3);
  const depth = blocksOf(given, "visual.blocks.", origin);
  const qkNorm = given.has("visual.blocks.0.attn.q_norm.weight");
  const text = textOf(given, shape, unseen, origin);
  const sizes = { imageSize: imageSizeOf(tokens!, patchSize!, origin), patchSize: patchSize!, width: width!, depth, qkNorm };
  // Where queries have norms, these have the width of a head.
  const normed = qkNorm ? width! / shape("visual.blocks.0.attn.q_norm.weight", 1)[0]! : undefined;
  const heads = unseen.heads?.image ?? normed ?? knownHeads.slip.get(width!) ?? unknownHeads;
  const [, jointWidth] = shape("image_projection", 2);
  const config: ClipConfig = { jointWidth: jointWidth!, vision: { ...sizes, heads }, text };
  if (given.has("image_mlp.layer1.weight")) {
    config.viewHead = { hidden: shape("image_mlp.layer1.weight", 2)[0]!, width: shape("image_mlp.layer3.weight", 2)[0]! };
  }
  // Running means of the head's norms: our head normalises with the batch, and is used in training alone.
  const weights = new Map([...given].filter(([name]) => !/^image_mlp\.bn\d\.(running_|num_batches)/.test(name)));
  return contents(config, weights, unseen.preprocessing ?? imagenetPreprocessing, origin);
}

/** OpenAI's and open_clip's own names. */
function openClip(weights: Weights, byOpenai: boolean, unseen: Unseen, origin: string): ModelContents {
  // All of OpenAI's models have QuickGELU.
  const activation = unseen.activation ?? (byOpenai ? "quick-gelu" : undefined);
  if (activation === undefined) {
    throw new UsageError(
      `${origin}: whether these weights were trained with GELU or QuickGELU can't be seen from them, and the other one costs accuracy in silence.`,
      {
        mend: "Say --activation gelu or --activation quick-gelu: open_clip's models have GELU unless their name says quickgelu; OpenAI's have QuickGELU.",
      },
    );
  }
  const shape = shapesOf(weights, origin);
  const [width, , patchSize] = shape("visual.conv1.weight", 4);
  const [tokens] = shape("visual.positional_embedding", 2);
  const [, jointWidth] = shape("visual.proj", 2);
  const vision: VisionConfig = {
    form: "open-clip",
    imageSize: imageSizeOf(tokens!, patchSize!, origin),
    patchSize: patchSize!,
    width: width!,
    depth: blocksOf(weights, "visual.transformer.resblocks.", origin),
    heads: unseen.heads?.image ?? knownHeads.image.get(width!) ?? unknownHeads,
    qkNorm: false,
    activation,
  };
  const config: ClipConfig = { jointWidth: jointWidth!, vision, text: { ...textOf(weights, shape, unseen, origin), activation } };
  if (weights.has("logit_bias")) config.logitBias = 0;
  return contents(config, weights, unseen.preprocessing ?? openaiPreprocessing, origin);
}

function contents(config: ClipConfig, weights: Weights, preprocessing: Preprocessing, origin: string): ModelContents {
  const { vision, text } = config;
  for (const [tower, { width, heads }] of Object.entries({ image: vision, text })) {
    if (heads !== unknownHeads && width % heads === 0) continue;
    const unlike = heads === unknownHeads ? "" : `, which ${heads} heads don't divide`;
    throw new UsageError(
      `${origin}: how many heads the ${tower} tower has can't be seen from its weights; they are ${width} wide${unlike}.`,
      {
        mend: "Say --heads IMAGE,TEXT, for example --heads 12,8.",
      },
    );
  }
  return { config, preprocessing, weights: checkTensors(weights, weightShapes(config), origin) };
}

function textOf(weights: Weights, shape: Shapes, { heads }: Unseen, origin: string): TextConfig {
  const [contextLength, width] = shape("positional_embedding", 2);
  const [vocabularySize] = shape("token_embedding.weight", 2);
  if (vocabularySize! > clipVocabularySize) {
    throw new ModelFormatError(
      `${origin}: its texts are of ${vocabularySize} tokens, another vocabulary than CLIP's ${clipVocabularySize}, which is all that is known here.`,
    );
  }
  return {
    contextLength: contextLength!,
    vocabularySize: vocabularySize!,
    width: width!,
    depth: blocksOf(weights, "transformer.resblocks.", origin),
    heads: heads?.text ?? knownHeads.text.get(width!) ?? unknownHeads,
  };
}

/** How many blocks have names that begin so. */
function blocksOf(weights: Weights, prefix: string, origin: string): number {
  const numbers = new Set(
    [...weights.keys()].filter((name) => name.startsWith(prefix)).map((name) => Number.parseInt(name.slice(prefix.length), 10)),
  );
  numbers.delete(Number.NaN);
  // None may be left out: names of weights are made for every block, before one is looked for.
  const depth = numbers.size;
  let block = 0;
  while (numbers.has(block)) block++;
  if (depth === 0 || block < depth) throw new ModelFormatError(`${origin}: the weights have none that begin with ${prefix}${block}.`);
  return depth;
}

function imageSizeOf(tokens: number, patchSize: number, origin: string): number {
  const side = Math.sqrt(tokens - 1);
  if (!Number.isInteger(side) || side === 0)
    throw new ModelFormatError(`${origin}: ${tokens} positions of the image tower are no square of patches and a class token.`);
  return side * patchSize;
}

type Shapes = (name: string, dimensions: number) => number[];

function shapesOf(weights: Weights, origin: string): Shapes {
  return (name, dimensions) => {
    const shape = weights.get(name)?.shape;
    if (shape === undefined) throw new ModelFormatError(`${origin}: the weights have no ${name}.`);
    if (shape.length !== dimensions || shape.includes(0))
      throw new ModelFormatError(`${origin}: ${name} is [${shape.join(", ")}], expected ${dimensions} dimensions.`);
    return shape;
  };
}
