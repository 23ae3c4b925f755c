/** A model in the form of this program, of open_clip, of Hugging Face's transformers, or as ONNX graphs. */
import { readdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { DataError, UsageError, replaceFolder, writeFileSynced } from "../support/index.ts";
import { type ModelContents, writeModelContents } from "../models/index.ts";
import { writeHuggingFace } from "./hugging-face-folder.ts";
import { modelCard } from "./model-card.ts";
import { writeOnnx } from "./onnx/onnx-folder.ts";
import { writeOpenClip } from "./open-clip-folder.ts";

/** Forms that models are written in. */
export const modelForms = ["laclip", "open-clip", "hugging-face", "onnx"] as const;

/** One of them. */
export type ModelForm = (typeof modelForms)[number];

/**
 * Writes a folder, whole or not at all.
 * @param version of this program, which ONNX graphs say they were made by
 * @returns the names of its files, and what the person who gets them should know
 * @throws UsageError when something lies there, or the form has no place for such a model; LaclipError when the disk is full
 */
export async function writeModel(
  folder: string,
  form: ModelForm,
  model: ModelContents,
  { version }: { version?: string | undefined } = {},
): Promise<{ files: string[]; notes: string[] }> {
  checkPlace(folder);
  const notes: string[] = [];
  const noTokenizer = "Its vocabulary is not CLIP's, so there are no files of a tokenizer.";
  await replaceFolder(folder, async (beside) => {
    if (form === "laclip") return writeModelContents(beside, model);
    if (form === "open-clip") writeOpenClip(beside, model);
    else if (form === "onnx") {
      const { tokenizer, joined } = writeOnnx(beside, model, { version });
      if (!tokenizer) notes.push(noTokenizer);
      if (!joined) notes.push("Both towers are too large for one file of ONNX, so there is no onnx/model.onnx.");
    } else if (!writeHuggingFace(beside, model).tokenizer) notes.push(noTokenizer);
    writeFileSynced(join(beside, "README.md"), modelCard(form, folder, model));
    if (model.config.viewHead) notes.push("The head of SimCLR's loss, which serves training alone, is left out.");
    if (form === "open-clip" && model.config.vision.form !== "open-clip") {
      notes.push("open_clip loads this image tower since May 2026: from its main branch, or a release after 3.3.0.");
    }
  });
  const inside = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return { files: inside.map((entry) => relative(folder, join(entry.parentPath, entry.name))).toSorted(), notes };
}

function checkPlace(folder: string): void {
  const there = statSync(folder, { throwIfNoEntry: false });
  if (!there) return;
  if (!there.isDirectory()) throw new DataError(`${folder}: a file lies there; expected a place for a new folder.`);
  if (readdirSync(folder).length > 0)
    throw new UsageError(`${folder}: this folder has files in it.`, { mend: "Name a new one, or clear it away first." });
}
