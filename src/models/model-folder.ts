/**
 * A model on disk: `laclip.json` (architecture and image preparation) and `model.safetensors` (weights in LaCLIP's names).
 * Both are read by every command that takes `--model`.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type StoredTensor, readSafetensors, writeSafetensors } from "../formats/index.ts";
import { storedTensors, tensorsOf } from "../nn/index.ts";
import type { Tensor } from "../torch/index.ts";
import { DataError, ModelFormatError, makeFolder, readJson, replaceFileSync, writeFileAtomic } from "../support/index.ts";
import { type ClipConfig, clipConfigSchema } from "./config.ts";
import { Clip } from "./clip.ts";
import { preprocessingSchema, type Preprocessing } from "./preprocessing.ts";
import { resizePositions } from "./resize-positions.ts";
import { positionsName } from "./vision-transformer.ts";

const configFile = "laclip.json";
const weightsFile = "model.safetensors";

const modelFileSchema = z.strictObject({
  format: z.literal("laclip-model-1"),
  model: clipConfigSchema,
  preprocessing: preprocessingSchema,
});

/** A model with the preparation of images that it was trained with. */
export interface LoadedModel {
  model: Clip;
  preprocessing: Preprocessing;
}

/** All that a model folder holds, as plain values: no library is loaded for it. */
export interface ModelContents {
  config: ClipConfig;
  preprocessing: Preprocessing;
  /** Weights by LaCLIP's or open_clip's names, as the form of the image tower wants. */
  weights: ReadonlyMap<string, StoredTensor>;
}

/** The files of a model folder by name. */
export interface ModelFiles {
  tensors: Record<string, [string, StoredTensor][]>;
  texts: Record<string, string>;
}

/** What a model folder would hold, copied from the weights as they are now: for a checkpoint, whose bytes are written later. */
export function modelFiles({ model, preprocessing }: LoadedModel): ModelFiles {
  return filesOf(model.config, preprocessing, storedTensors(model.namedParameters()));
}

function filesOf(model: ClipConfig, preprocessing: Preprocessing, weights: [string, StoredTensor][]): ModelFiles {
  const description = { format: "laclip-model-1", model, preprocessing } satisfies z.infer<typeof modelFileSchema>;
  return { tensors: { [weightsFile]: weights }, texts: { [configFile]: `${JSON.stringify(description, null, 2)}\n` } };
}

/** Writes the folder; the weights first, so that a folder with `laclip.json` is whole. */
export function saveModel(folder: string, loaded: LoadedModel): void {
  writeFiles(folder, modelFiles(loaded));
}

/** Writes the folder, in the same order. */
export function writeModelContents(folder: string, { config, preprocessing, weights }: ModelContents): void {
  writeFiles(folder, filesOf(config, preprocessing, [...weights]));
}

function writeFiles(folder: string, { tensors, texts }: ModelFiles): void {
  makeFolder(folder);
  for (const [name, stored] of Object.entries(tensors)) replaceFileSync(join(folder, name), (beside) => writeSafetensors(beside, stored));
  for (const [name, text] of Object.entries(texts)) writeFileAtomic(join(folder, name), text);
}

/** What lies in a model folder. */
export interface ModelFolder {
  config: ClipConfig;
  preprocessing: Preprocessing;
  /** Weights by name; the caller disposes of them. */
  tensors: Map<string, Tensor>;
  /** The file that they come from, for messages. */
  weights: string;
}

/**
 * Reads a model folder without making a model of it.
 * @throws DataError when it is none; ModelFormatError when one of its files is damaged
 */
export function readModelFolder(folder: string): ModelFolder {
  const { config, preprocessing, weights } = readModelContents(folder);
  const file = weightsOf(folder);
  return { config, preprocessing, tensors: tensorsOf(weights, file), weights: file };
}

/** Whether a folder is a model folder. */
export function isModelFolder(folder: string): boolean {
  return existsSync(join(folder, configFile));
}

/**
 * Reads a model folder as plain values.
 * @throws DataError when it is none; ModelFormatError when one of its files is damaged
 */
export function readModelContents(folder: string): ModelContents {
  const path = join(folder, configFile);
  if (!isModelFolder(folder)) {
    if (!existsSync(folder)) throw new DataError(`${folder}: no such model folder.`);
    const inside = join(folder, "model");
    throw new DataError(`${folder}: not a model folder: it has no ${configFile}.`, {
      mend: isModelFolder(inside) ? `Give ${inside}.` : "Give the `model` folder inside a run folder.",
    });
  }
  const parsed = modelFileSchema.safeParse(readJson(path, "model description"));
  if (!parsed.success) throw new ModelFormatError(`${path}: ${z.prettifyError(parsed.error)}`);
  const { model: config, preprocessing } = parsed.data;
  return { config, preprocessing, weights: readSafetensors(weightsOf(folder)).tensors };
}

/** The file of a model folder that holds its weights. */
export function weightsOf(folder: string): string {
  return join(folder, weightsFile);
}

/** How and where `loadModel` builds the model. */
export interface LoadOptions {
  /** Pixels, a multiple of the patch: the model for images of another size, with its positions resized. Default its own. */
  imageSize?: number | undefined;
  /** Where the model is to be, see `findDevice`. Default "cpu". */
  device?: string | undefined;
}

/**
 * The model of a model folder.
 * @throws DataError when it is none; ModelFormatError when its files are damaged or do not fit each other; UsageError for a size that makes
 *   no model
 */
export function loadModel(folder: string, { imageSize, device = "cpu" }: LoadOptions = {}): LoadedModel {
  const { config, preprocessing, tensors, weights } = readModelFolder(folder);
  let model: Clip | undefined;
  try {
    const { vision } = config;
    model = new Clip(imageSize === undefined ? config : { ...config, vision: { ...vision, imageSize } });
    const positions = positionsName(vision);
    const learnt = tensors.get(positions);
    if (imageSize === undefined || imageSize === vision.imageSize || learnt === undefined) {
      model.loadStateDict(tensors, weights);
    } else {
      const resized = resizePositions(learnt, imageSize / vision.patchSize);
      model.loadStateDict(new Map([...tensors, [positions, resized]]), weights);
      resized.dispose();
    }
    model.moveTo(device);
  } catch (error) {
    model?.dispose();
    throw error;
  } finally {
    for (const tensor of tensors.values()) tensor.dispose();
  }
  return { model, preprocessing };
}
