/**
 * Checkpoints that survive a kill at any byte.
 *
 * A checkpoint is a folder a step: the model folder (readable by every command), the optimiser's moments, `state.json`, and a manifest
 * with the SHA-256 of each file. It is written beside its place, synced, renamed; the manifest is written last, so that a folder
 * without a valid one was never finished. Loading checks the sums and falls back to the newest whole checkpoint.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type LoadedModel, saveModel } from "../models/index.ts";
import { loadTensors, saveTensors } from "../nn/index.ts";
import { type AdamW, allFinite } from "../optim/index.ts";
import {
  DivergedError,
  ModelFormatError,
  explainWriteFailure,
  log,
  readJson,
  sha256File,
  syncFolder,
  writeFileSynced,
} from "../support/index.ts";

const manifestFile = "manifest.json";
const stateFile = "state.json";
const optimizerFile = "optimizer.safetensors";

const stateSchema = z.strictObject({
  format: z.literal("laclip-checkpoint-1"),
  /** Steps finished; the next step has this number, counted from 0. */
  step: z.number().int().nonnegative(),
});

export type CheckpointState = Omit<z.infer<typeof stateSchema>, "format">;

export interface Checkpoint extends CheckpointState {
  /** The checkpoint's folder, which is also a model folder. */
  folder: string;
}

/**
 * Writes a checkpoint under `root` and removes all but the `keep` newest. Returns its folder.
 * @throws DivergedError when a weight or moment is not finite: such a checkpoint would only be resumed into nonsense
 */
export async function saveCheckpoint(
  root: string,
  parts: LoadedModel & { optimizer: AdamW; state: CheckpointState },
  keep: number,
): Promise<string> {
  const { model, optimizer, state } = parts;
  if (!allFinite([...model.parameters(), ...optimizer.stateDict().values()])) {
    throw new DivergedError(`After step ${state.step} some weights are not finite; they were not saved.`, {
      mend: "Lower the learning rate or lengthen the warm-up: --set optimizer.peakLr=... --set training.warmupSteps=... Earlier checkpoints are untouched.",
    });
  }
  const place = join(root, `step-${String(state.step).padStart(8, "0")}`);
  const beside = join(root, `.writing-${process.pid}`);
  try {
    mkdirSync(beside, { recursive: true });
    saveModel(beside, parts);
    saveTensors(join(beside, optimizerFile), optimizer.stateDict());
    writeFileSynced(join(beside, stateFile), `${JSON.stringify({ format: "laclip-checkpoint-1", ...state }, null, 2)}\n`);
    const sums: Record<string, string> = {};
    for (const name of readdirSync(beside).toSorted()) sums[name] = await sha256File(join(beside, name));
    writeFileSynced(join(beside, manifestFile), `${JSON.stringify({ sha256: sums }, null, 2)}\n`);
    syncFolder(beside);
    rmSync(place, { recursive: true, force: true });
    renameSync(beside, place);
    syncFolder(root);
  } catch (error) {
    rmSync(beside, { recursive: true, force: true });
    throw explainWriteFailure(error, place);
  }
  for (const old of checkpointFolders(root).slice(keep)) rmSync(old, { recursive: true, force: true });
  return place;
}

/** Folders of checkpoints, newest first. */
export function checkpointFolders(root: string): string[] {
  if (!existsSync(root)) return [];
  const names = readdirSync(root).filter((name) => /^step-\d+$/.test(name));
  return names.toSorted((a, b) => Number(b.slice(5)) - Number(a.slice(5))).map((name) => join(root, name));
}

/** Removes what interrupted saves have left, and checkpoints newer than `step`, which are damaged or belong to steps made again. */
export function sweepCheckpoints(root: string, step: number): void {
  if (!existsSync(root)) return;
  for (const name of readdirSync(root)) {
    const newer = /^step-\d+$/.test(name) && Number(name.slice(5)) > step;
    if (newer || name.startsWith(".writing-")) rmSync(join(root, name), { recursive: true, force: true });
  }
}

/**
 * The newest checkpoint that is whole, or undefined when there is none at all.
 * @throws ModelFormatError when there are checkpoints and every one is damaged
 */
export async function latestCheckpoint(root: string): Promise<Checkpoint | undefined> {
  const folders = checkpointFolders(root);
  const damage: string[] = [];
  for (const folder of folders) {
    try {
      return await readCheckpoint(folder);
    } catch (error) {
      damage.push((error as Error).message);
      log.warn(`${(error as Error).message} Trying the one before.`);
    }
  }
  if (damage.length === 0) return undefined;
  throw new ModelFormatError(`${root}: none of the ${damage.length} checkpoints is whole.\n  ${damage.join("\n  ")}`, {
    mend: "Move the folder away to train from the start, or restore a copy.",
  });
}

async function readCheckpoint(folder: string): Promise<Checkpoint> {
  const manifest = join(folder, manifestFile);
  if (!existsSync(manifest)) throw new ModelFormatError(`${folder}: the checkpoint has no ${manifestFile}.`);
  const sums = z.object({ sha256: z.record(z.string(), z.string()) }).safeParse(readJson(manifest, "checkpoint manifest"));
  if (!sums.success) throw new ModelFormatError(`${manifest}: not a checkpoint manifest.`);
  for (const [name, expected] of Object.entries(sums.data.sha256)) {
    const path = join(folder, name);
    const got = existsSync(path) ? await sha256File(path) : "missing";
    if (got !== expected) throw new ModelFormatError(`${path}: damaged (SHA-256 ${got.slice(0, 12)}, expected ${expected.slice(0, 12)}).`);
  }
  const state = stateSchema.safeParse(readJson(join(folder, stateFile), "checkpoint state"));
  if (!state.success) throw new ModelFormatError(`${join(folder, stateFile)}: ${z.prettifyError(state.error)}`);
  return { ...state.data, folder };
}

/** Puts weights and optimiser back as they were. */
export function restoreCheckpoint(checkpoint: Checkpoint, { model }: Pick<LoadedModel, "model">, optimizer: AdamW): void {
  const load = (name: string, into: (tensors: ReturnType<typeof loadTensors>["tensors"], origin: string) => void): void => {
    const path = join(checkpoint.folder, name);
    const { tensors } = loadTensors(path);
    into(tensors, path);
    for (const tensor of tensors.values()) tensor.dispose();
  };
  load("model.safetensors", (tensors, origin) => model.loadStateDict(tensors, origin));
  load(optimizerFile, (tensors, origin) => optimizer.loadStateDict(tensors, checkpoint.step, origin));
}
