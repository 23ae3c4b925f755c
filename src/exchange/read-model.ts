/** Any model that can be read: a folder of ours, of open_clip or of Hugging Face, or a file of weights. */
import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { DataError, UsageError } from "../support/index.ts";
import { type ModelContents, isModelFolder, readModelContents, weightShapes, weightsOf } from "../models/index.ts";
import { type Unseen, describeWeights } from "./bare-weights.ts";
import { checkTensors } from "./check-tensors.ts";
import { isHuggingFaceFolder, readHuggingFace } from "./hugging-face-folder.ts";
import { isOpenClipFolder, readOpenClip } from "./open-clip-folder.ts";
import { readWeightsFile, statsOf } from "./weights-file.ts";

/** Whose form a model was found in. */
export type FoundForm = "laclip" | "open-clip" | "hugging-face" | "weights";

/**
 * Reads a model from whatever lies at `path`.
 * @param unseen what files of bare weights don't show; folders say it themselves
 * @throws DataError when nothing is there; ModelFormatError when it is no model that is known here, or damaged; UsageError when something must
 *   be said, or was said of a folder that says it itself
 */
export async function readModel(path: string, unseen: Unseen = {}): Promise<ModelContents & { form: FoundForm }> {
  const said = Object.entries(unseen).filter(([, value]) => value !== undefined);
  if (!statsOf(path, "file or folder").isDirectory()) {
    if (said.length === 0 && isDescribed(path)) {
      throw new UsageError(`${path}: what model these weights are of is said in the folder that they lie in.`, {
        mend: `Give the folder: ${dirname(path)}.`,
      });
    }
    return { ...describeWeights(await readWeightsFile(path), unseen, path), form: "weights" };
  }
  if (said.length > 0) {
    throw new UsageError(
      `${path}: a folder says itself what model it holds; ${said.map(([name]) => name).join(" and ")} can be said of a file of weights only.`,
    );
  }
  if (isOpenClipFolder(path)) return { ...(await readOpenClip(path)), form: "open-clip" };
  if (isHuggingFaceFolder(path)) return { ...(await readHuggingFace(path)), form: "hugging-face" };
  if (isModelFolder(path)) return { ...readOwn(path), form: "laclip" };
  throw noModel(path);
}

/** Whether a file is the weights of a folder that describes them. */
function isDescribed(file: string): boolean {
  const folder = dirname(file);
  if (!/^(open_clip_)?(pytorch_)?model\.(safetensors|bin)$/.test(basename(file))) return false;
  return isModelFolder(folder) || isOpenClipFolder(folder) || isHuggingFaceFolder(folder);
}

function readOwn(folder: string): ModelContents {
  const model = readModelContents(folder);
  return { ...model, weights: checkTensors(model.weights, weightShapes(model.config), weightsOf(folder)) };
}

function noModel(folder: string): DataError {
  const inside = join(folder, "model");
  const files = readdirSync(folder).filter((name) => /\.(safetensors|pt|pth|bin|ckpt)$/.test(name));
  let mend: string | undefined;
  if (isModelFolder(inside)) mend = `Give ${inside}.`;
  else if (files.length > 0)
    mend = `Weights of LaCLIP, SLIP, OpenAI and open_clip need none: give the file itself, ${join(folder, files[0]!)}.`;
  return new DataError(
    `${folder}: no folder of a model: it has none of laclip.json, open_clip_config.json, and config.json of Hugging Face.`,
    mend === undefined ? {} : { mend },
  );
}
