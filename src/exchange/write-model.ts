/** A model in the form of this program, of open_clip, or of Hugging Face's transformers. */
import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { InterruptedError, UsageError, explainReadFailure, explainWriteFailure, replaceFolder, writeFileSynced } from "../support/index.ts";
import { type ModelContents, writeModelContents } from "../models/index.ts";
import { writeHuggingFace } from "./hugging-face-folder.ts";
import { modelCard } from "./model-card.ts";
import { writeOpenClip } from "./open-clip-folder.ts";

/** Forms that models are written in. */
export const modelForms = ["laclip", "open-clip", "hugging-face"] as const;

/** One of them. */
export type ModelForm = (typeof modelForms)[number];

/**
 * Writes a folder, whole or not at all.
 * @param options.signal ends it with nothing left, once the file that is being written is whole
 * @returns the names of its files, how many numbers its weights are, and what the person who gets them should know
 * @throws UsageError when something lies there, or the form has no place for such a model; LaclipError when the disk is full;
 *   InterruptedError when stopped
 */
export async function writeModel(
  folder: string,
  form: ModelForm,
  model: ModelContents,
  { signal }: { signal?: AbortSignal } = {},
): Promise<{ files: string[]; parameters: number; notes: string[] }> {
  checkNewFolder(folder);
  const written = form === "laclip" ? model : withoutViewHead(model);
  const notes: string[] = [];
  await replaceFolder(folder, async (beside) => {
    if (form === "laclip") writeModelContents(beside, written);
    else if (form === "open-clip") writeOpenClip(beside, written);
    else if (!writeHuggingFace(beside, written).tokenizer)
      notes.push("Its vocabulary is not CLIP's, so there are no files of a tokenizer.");
    // Files are written without a pause. Signals that came meanwhile are known after a whole turn: the next one may have begun.
    await setImmediate();
    await setImmediate();
    if (signal?.aborted) throw new InterruptedError("Stopped; nothing was written.", { mend: "Start the same command again." });
    if (form === "laclip") return;
    writeFileSynced(join(beside, "README.md"), modelCard(form, folder, written));
    if (model.config.viewHead) notes.push("The head of SimCLR's loss, which serves training alone, is left out.");
    if (form === "open-clip" && model.config.vision.form !== "open-clip") {
      notes.push("open_clip loads this image tower since May 2026: from its main branch, or a release after 3.3.0.");
    }
  });
  const parameters = [...written.weights.values()].reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  return { files: readdirSync(folder).toSorted(), parameters, notes };
}

/** Without the head of SimCLR's loss, which serves training alone and has no place elsewhere. */
function withoutViewHead({ config, preprocessing, weights }: ModelContents): ModelContents {
  const { viewHead: _, ...kept } = config;
  return { config: kept, preprocessing, weights: new Map([...weights].filter(([name]) => !name.startsWith("image_mlp."))) };
}

/**
 * A folder that does not lie there yet, or is empty.
 * @throws UsageError when something lies there, or a file where a folder above it belongs
 */
export function checkNewFolder(folder: string): void {
  if (resolve(folder) === process.cwd())
    throw new UsageError(`${JSON.stringify(folder)}: this is the folder that the command runs in; expected a place for a new one.`);
  try {
    if (!statSync(folder).isDirectory()) throw new UsageError(`${folder}: a file lies there; expected a place for a new folder.`);
    if (readdirSync(folder).length > 0)
      throw new UsageError(`${folder}: this folder has files in it.`, { mend: "Name a new one, or clear it away first." });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw explainReadFailure(explainWriteFailure(error, folder), folder);
  }
}
