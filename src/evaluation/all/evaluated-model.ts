/** The model of an evaluation: its weights, what it is called in results, and the run that made it. */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type LoadedModel, type Preprocessing, loadModel } from "../../models/index.ts";
import { isRecord, readJson, sha256, sha256File } from "../../support/index.ts";
import { normalisationFits } from "../datasets/index.ts";

/** A model and what results say of it. */
export interface EvaluatedModel extends LoadedModel {
  /** Name in results. */
  readonly name: string;
  /** SHA-256 of the weights file. */
  readonly hash: string;
  /** The `config.json` of its training run; undefined where the model folder lies in none. */
  readonly run: Record<string, unknown> | undefined;
}

/**
 * Loads a model folder.
 * @param options.name what results call it. Default: the run's folder; of a checkpoint, `run/step-00000100`
 * @param options.imageSize pixels; for another than the model's, its positions are resized. Default the model's
 * @param options.device where it is to be. Default "cpu"
 * @throws as `loadModel`
 */
export async function openEvaluatedModel(
  folder: string,
  { name, ...options }: { name?: string | undefined; imageSize?: number | undefined; device?: string | undefined } = {},
): Promise<EvaluatedModel> {
  const loaded = loadModel(folder, options);
  try {
    const path = resolve(folder);
    const parent = dirname(path);
    const checkpoint = basename(parent) === "checkpoints";
    const runFolder = checkpoint ? dirname(parent) : parent;
    const config = join(runFolder, "config.json");
    const run = existsSync(config) ? readJson(config, "run configuration") : undefined;
    const own = checkpoint ? `${basename(runFolder)}/${basename(path)}` : basename(path) === "model" ? basename(parent) : basename(path);
    const hash = await sha256File(join(folder, "model.safetensors"));
    return { ...loaded, name: name ?? own, hash, run: isRecord(run) && isRecord(run["recipe"]) ? run : undefined };
  } catch (error) {
    loaded.model.dispose();
    throw error;
  }
}

/**
 * How images are prepared, as results say it. `normalisation` is "imagenet", "openai", or the means where they are others; `description` is a
 * hash of all that `laclip.json` of the model says: the same weights with another activation or deviation are another model.
 */
export function preparationProtocol(model: Pick<EvaluatedModel, "model" | "preprocessing">): Record<string, string | number> {
  const { preprocessing } = model;
  const { config } = model.model;
  return {
    normalisation: normalisation(preprocessing),
    interpolation: preprocessing.interpolation,
    imageSize: config.vision.imageSize,
    description: sha256(JSON.stringify([config, preprocessing])).slice(0, 16),
  };
}

function normalisation(preprocessing: Preprocessing): string {
  if (normalisationFits(preprocessing, "slip")) return "imagenet";
  return normalisationFits(preprocessing, "openai") ? "openai" : preprocessing.mean.join(" ");
}
