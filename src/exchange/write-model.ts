/** A model in the form of this program, of open_clip, of Hugging Face's transformers, or as ONNX graphs. */
import { readdirSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { InterruptedError, UsageError, explainReadFailure, explainWriteFailure, replaceFolder, writeFileSynced } from "../support/index.ts";
import { type ModelContents, writeModelContents } from "../models/index.ts";
import { writeHuggingFace } from "./hugging-face-folder.ts";
import { modelCard } from "./model-card.ts";
import { writeOnnx } from "./onnx/onnx-folder.ts";
import { writeOpenClip } from "./open-clip-folder.ts";

/** Forms that models are written in. */
export const modelForms = ["laclip", "open-clip", "hugging-face", "onnx"] as const;

/** One of them. */
export type ModelForm = (typeof modelForms)[number];

/** How a model is written. */
export interface WriteOptions {
  /** Of this program, which ONNX graphs say they were made by. */
  version?: string | undefined;
  /** Ends it with nothing left, once the file that is being written is whole. */
  signal?: AbortSignal | undefined;
}

/** What was written. */
export interface WrittenModel {
  /** Names of the files, below the folder. */
  files: string[];
  /** How many numbers the weights are. */
  parameters: number;
  /** What the person who gets them should know. */
  notes: string[];
}

/**
 * Writes a folder, whole or not at all.
 * @throws UsageError when something lies there, or the form has no place for such a model; LaclipError when the disk is full;
 *   InterruptedError when stopped
 */
export async function writeModel(
  folder: string,
  form: ModelForm,
  model: ModelContents,
  { version, signal }: WriteOptions = {},
): Promise<WrittenModel> {
  checkNewFolder(folder);
  const written = form === "laclip" ? model : withoutViewHead(model);
  const notes = notesOf(form, model);
  await replaceFolder(folder, async (beside) => {
    notes.push(...writeForm(beside, form, written, version));
    // Files are written without a pause. Signals that came meanwhile are known after a whole turn: the next one may have begun.
    await setImmediate();
    await setImmediate();
    if (signal?.aborted) throw new InterruptedError("Stopped; nothing was written.", { mend: "Start the same command again." });
    if (form !== "laclip") writeFileSynced(join(beside, "README.md"), modelCard(form, folder, written));
  });
  const inside = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const parameters = [...written.weights.values()].reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  return { files: inside.map((entry) => relative(folder, join(entry.parentPath, entry.name))).toSorted(), parameters, notes };
}

/** Writes the files of a form. @returns what the person who gets them should know of what is not there */
function writeForm(folder: string, form: ModelForm, model: ModelContents, version: string | undefined): string[] {
  const noTokenizer = "Its vocabulary is not CLIP's, so there are no files of a tokenizer.";
  switch (form) {
    case "laclip":
      writeModelContents(folder, model);
      return [];
    case "open-clip":
      writeOpenClip(folder, model);
      return [];
    case "hugging-face":
      return writeHuggingFace(folder, model).tokenizer ? [] : [noTokenizer];
    case "onnx": {
      const { tokenizer, joined } = writeOnnx(folder, model, { version });
      const missing = joined ? [] : ["Both towers are too large for one file of ONNX, so there is no onnx/model.onnx."];
      return tokenizer ? missing : [...missing, noTokenizer];
    }
  }
}

function notesOf(form: ModelForm, { config }: ModelContents): string[] {
  const notes: string[] = [];
  if (config.viewHead && form !== "laclip") notes.push("The head of SimCLR's loss, which serves training alone, is left out.");
  if (form === "open-clip" && config.vision.form !== "open-clip")
    notes.push("open_clip loads this image tower since May 2026: from its main branch, or a release after 3.3.0.");
  return notes;
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
