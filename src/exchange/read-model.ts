/** Any model that can be read: a folder of ours, of open_clip or of Hugging Face, or a file of weights. */
import { statSync } from "node:fs";
import { DataError, UsageError } from "../support/index.ts";
import { type ModelContents, readModelContents } from "../models/index.ts";
import { type Unseen, describeWeights } from "./bare-weights.ts";
import { isHuggingFaceFolder, readHuggingFace } from "./hugging-face-folder.ts";
import { isOpenClipFolder, readOpenClip } from "./open-clip-folder.ts";
import { readWeightsFile } from "./weights-file.ts";

/** Whose form a model was found in. */
export type FoundForm = "laclip" | "open-clip" | "hugging-face" | "weights";

/**
 * Reads a model from whatever lies at `path`.
 * @param unseen what files of bare weights don't show; folders say it themselves
 * @throws DataError when nothing is there; ModelFormatError when it is no model that is known here, or damaged; UsageError when something must
 *   be said, or was said of a folder that says it itself
 */
export async function readModel(path: string, unseen: Unseen = {}): Promise<ModelContents & { form: FoundForm }> {
  const there = statSync(path, { throwIfNoEntry: false });
  if (!there) throw new DataError(`${path}: no such file or folder.`);
  if (!there.isDirectory()) return { ...describeWeights(await readWeightsFile(path), unseen, path), form: "weights" };
  const said = Object.entries(unseen).filter(([, value]) => value !== undefined);
  if (said.length > 0) {
    throw new UsageError(
      `${path}: a folder says itself what model it holds; ${said.map(([name]) => name).join(" and ")} can be said of a file of weights only.`,
    );
  }
  if (isOpenClipFolder(path)) return { ...(await readOpenClip(path)), form: "open-clip" };
  if (isHuggingFaceFolder(path)) return { ...(await readHuggingFace(path)), form: "hugging-face" };
  return { ...readModelContents(path), form: "laclip" };
}
