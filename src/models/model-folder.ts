/**
 * A model on disk: `laclip.json` (architecture and image preparation) and `model.safetensors` (weights in LaCLIP's names).
 * Both are read by every command that takes `--model`.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type StoredTensor, writeSafetensors } from "../formats/index.ts";
import { loadTensors, storedTensors } from "../nn/index.ts";
import { DataError, ModelFormatError, readJson, writeFileAtomic } from "../support/index.ts";
import { clipConfigSchema } from "./config.ts";
import { Clip } from "./clip.ts";
import { preprocessingSchema, type Preprocessing } from "./preprocessing.ts";

const configFile = "laclip.json";
const weightsFile = "model.safetensors";

const modelFileSchema = z.strictObject({
  format: z.literal("laclip-model-1"),
  model: clipConfigSchema,
  preprocessing: preprocessingSchema,
});

export interface LoadedModel {
  model: Clip;
  preprocessing: Preprocessing;
}

/** The files of a model folder by name. */
export interface ModelFiles {
  tensors: Record<string, [string, StoredTensor][]>;
  texts: Record<string, string>;
}

/** What a model folder would hold, copied from the weights as they are now: for a checkpoint, whose bytes are written later. */
export function modelFiles({ model, preprocessing }: LoadedModel): ModelFiles {
  const description = { format: "laclip-model-1", model: model.config, preprocessing } satisfies z.infer<typeof modelFileSchema>;
  return {
    tensors: { [weightsFile]: storedTensors(model.namedParameters()) },
    texts: { [configFile]: `${JSON.stringify(description, null, 2)}\n` },
  };
}

/** Writes the folder; the weights first, so that a folder with `laclip.json` is whole. */
export function saveModel(folder: string, loaded: LoadedModel): void {
  mkdirSync(folder, { recursive: true });
  const { tensors, texts } = modelFiles(loaded);
  for (const [name, stored] of Object.entries(tensors)) writeSafetensors(join(folder, name), stored);
  for (const [name, text] of Object.entries(texts)) writeFileAtomic(join(folder, name), text);
}

/**
 * Reads a model folder.
 * @throws DataError when it is none; ModelFormatError when its files are damaged or do not fit each other
 */
export function loadModel(folder: string): LoadedModel {
  const path = join(folder, configFile);
  if (!existsSync(path)) {
    throw new DataError(`${folder}: not a model folder: it has no ${configFile}.`, {
      mend: "Give the `model` folder inside a run folder.",
    });
  }
  const parsed = modelFileSchema.safeParse(readJson(path, "model description"));
  if (!parsed.success) throw new ModelFormatError(`${path}: ${z.prettifyError(parsed.error)}`);
  const weights = join(folder, weightsFile);
  const { tensors } = loadTensors(weights);
  const model = new Clip(parsed.data.model);
  try {
    model.loadStateDict(tensors, weights);
  } catch (error) {
    model.dispose();
    throw error;
  } finally {
    for (const tensor of tensors.values()) tensor.dispose();
  }
  return { model, preprocessing: parsed.data.preprocessing };
}
