/**
 * Checkpoints that survive a kill at any byte.
 *
 * A checkpoint is a folder a step: the model folder (readable by every command), the optimiser's moments, the states of the random
 * generators, `state.json`, and a manifest with the SHA-256 of each file (`checkpoint-files.ts` writes them). A folder without a valid
 * manifest was never finished. Loading checks the sums and falls back to the newest whole checkpoint.
 */
import { existsSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { type LoadedModel, modelFiles } from "../models/index.ts";
import { loadTensors, storedTensors } from "../nn/index.ts";
import { type AdamW, allFinite } from "../optim/index.ts";
import { LaclipError, ModelFormatError, log, readJson, sha256File } from "../support/index.ts";
import { randomState, setRandomState, worksAside } from "../torch/index.ts";
import { type CheckpointJob, manifestFile, removeCheckpoint, removingPrefix, writingPrefix } from "./checkpoint-files.ts";
import { scalerStateSchema } from "./loss-scaler.ts";
import { type GuardState, guardStateSchema } from "./step-guard.ts";

const stateFile = "state.json";
const optimizerFile = "optimizer.safetensors";
const randomFile = "random.safetensors";
/** Its state of the GPU that the run was on. One that goes on elsewhere leaves it: nothing in a step is drawn from it so far. */
const gpuRandom = "gpu";
/** A link to the checkpoint with the best measure. */
const bestLink = "best";

const stateSchema = z.strictObject({
  format: z.literal("laclip-checkpoint-1"),
  /** Steps finished; the next step has this number, counted from 0. */
  step: z.number().int().nonnegative(),
  /** Updates of the weights: as many as steps, without those that were skipped. */
  updates: z.number().int().nonnegative().optional(),
  /** What the guard against bad steps knows. */
  guard: guardStateSchema.optional(),
  /** Where the loss is scaled, by how much. */
  scaler: scalerStateSchema.optional(),
  /** Measures of the evaluators after this step, by name; none when they were not asked then. */
  measures: z.record(z.string(), z.number()).optional(),
});

/** What a checkpoint says of its run beside weights, moments and generators. */
export type CheckpointState = Omit<z.infer<typeof stateSchema>, "format">;

/** A finished checkpoint. */
export interface Checkpoint extends CheckpointState {
  /** The checkpoint's folder, which is also a model folder. */
  folder: string;
}

/** Which checkpoints stay. The newest of those that a roll-back may go to stays in any case. */
export interface KeepRule {
  /** So many of the newest. */
  newest: number;
  /** Roll-backs go to checkpoints whose step is a multiple of this: where they go must not depend on when a run was interrupted. */
  every: number;
  /** And the one whose measure of this name is the best. */
  best?: BestRule | undefined;
}

/** A measure of the evaluators, and whether more of it is better. */
export interface BestRule {
  metric: string;
  higher: boolean;
}

/** True when no weight and no moment is infinite or not a number: anything else would only be resumed into nonsense. */
export function canBeSaved({ model, optimizer }: Pick<LoadedModel, "model"> & { optimizer: AdamW }): boolean {
  return allFinite([...model.parameters(), ...optimizer.stateDict().values()]);
}

/** Copies of everything that a checkpoint holds, as it is now; for `CheckpointWriter`. @param root folder of all checkpoints */
export function copyCheckpoint(root: string, parts: LoadedModel & { optimizer: AdamW; state: CheckpointState }): CheckpointJob {
  const { optimizer, state } = parts;
  const files = modelFiles(parts);
  const { device } = parts.model.logitScale;
  const random = new Map([["cpu", randomState()]]);
  if (worksAside(device)) random.set(gpuRandom, randomState(device));
  try {
    return {
      root,
      name: `step-${String(state.step).padStart(8, "0")}`,
      tensors: {
        ...files.tensors,
        [optimizerFile]: storedTensors(optimizer.stateDict()),
        [randomFile]: storedTensors(random),
      },
      texts: { ...files.texts, [stateFile]: `${JSON.stringify({ format: "laclip-checkpoint-1", ...state }, null, 2)}\n` },
    };
  } finally {
    for (const state of random.values()) state.dispose();
  }
}

/** Folders of checkpoints, newest first. */
export function checkpointFolders(root: string): string[] {
  if (!existsSync(root)) return [];
  const names = readdirSync(root).filter((name) => /^step-\d+$/.test(name));
  return names.toSorted((a, b) => Number(b.slice(5)) - Number(a.slice(5))).map((name) => join(root, name));
}

const stepOf = (folder: string): number => Number(basename(folder).slice(5));

/**
 * Removes the checkpoints that the rule does not keep, and lets `best` point to the best. What can't be removed is said and stays: a
 * checkpoint too many harms nobody.
 */
export function pruneCheckpoints(root: string, { newest, every, best }: KeepRule): void {
  const folders = checkpointFolders(root);
  const kept = new Set(folders.slice(0, newest));
  // One that was saved amid steps that were not finite is none: a roll-back goes to before them.
  const anchor = folders.find((folder) => stepOf(folder) % every === 0 && (stateOf(folder)?.guard?.notFinite ?? 0) === 0);
  if (anchor !== undefined) kept.add(anchor);
  const bestOnes = best === undefined ? undefined : bestCheckpoint(root, best);
  if (bestOnes !== undefined) {
    kept.add(bestOnes.folder);
    attempt(`${join(root, bestLink)}: the link to the best checkpoint could not be made`, () => pointTo(root, bestOnes.folder));
  }
  for (const old of folders) {
    if (!kept.has(old)) attempt(`${old}: the old checkpoint could not be removed`, () => removeCheckpoint(old));
  }
}

/** The checkpoint with the best measure, and the measure; the earlier one of equals. */
function bestCheckpoint(root: string, { metric, higher }: BestRule): { folder: string; value: number } | undefined {
  let best: { folder: string; value: number } | undefined;
  for (const folder of checkpointFolders(root).toReversed()) {
    const value = stateOf(folder)?.measures?.[metric];
    if (value !== undefined && (best === undefined || (higher ? value > best.value : value < best.value))) best = { folder, value };
  }
  return best;
}

/** True when measures are better than those of all checkpoints. */
export function isBest(root: string, rule: BestRule, measures: Readonly<Record<string, number>>): boolean {
  const value = measures[rule.metric];
  if (value === undefined || !Number.isFinite(value)) return false;
  const best = bestCheckpoint(root, rule)?.value;
  return best === undefined || (rule.higher ? value > best : value < best);
}

function stateOf(folder: string): CheckpointState | undefined {
  try {
    return stateSchema.safeParse(readJson(join(folder, stateFile), "checkpoint state")).data;
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    return undefined; // damaged: whoever loads it will say so
  }
}

function pointTo(root: string, folder: string): void {
  const beside = join(root, `${writingPrefix}${bestLink}`);
  rmSync(beside, { force: true });
  symlinkSync(basename(folder), beside);
  renameSync(beside, join(root, bestLink));
}

function attempt(what: string, body: () => void): void {
  try {
    body();
  } catch (error) {
    log.warn(`${what} (${(error as Error).message}).`);
  }
}

/**
 * Removes what interrupted saves have left, and the checkpoints that `unwanted` names by their step: newer than what a run goes on
 * from (damaged, or to be made again), or taken back.
 */
export function sweepCheckpoints(root: string, unwanted: (step: number) => boolean): void {
  if (!existsSync(root)) return;
  for (const name of readdirSync(root)) {
    const left = name.startsWith(writingPrefix) || name.startsWith(removingPrefix);
    if (left || (/^step-\d+$/.test(name) && unwanted(stepOf(name)))) {
      attempt(`${join(root, name)}: could not be removed`, () => rmSync(join(root, name), { recursive: true, force: true }));
    }
  }
}

/**
 * The newest checkpoint that is whole, or undefined when there is none at all.
 * @param suits looks only at checkpoints of such a step, with such a state of the guard. Default all
 * @throws ModelFormatError when there are such checkpoints and every one is damaged
 */
export async function latestCheckpoint(
  root: string,
  suits: (step: number, guard: GuardState | undefined) => boolean = () => true,
): Promise<Checkpoint | undefined> {
  const folders = checkpointFolders(root).filter((folder) => suits(stepOf(folder), stateOf(folder)?.guard));
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

/** Puts weights, optimiser and the library's random generator back as they were. */
export function restoreCheckpoint(checkpoint: Checkpoint, { model }: Pick<LoadedModel, "model">, optimizer: AdamW): void {
  const load = (name: string, into: (tensors: ReturnType<typeof loadTensors>["tensors"], origin: string) => void): void => {
    const path = join(checkpoint.folder, name);
    const { tensors } = loadTensors(path);
    into(tensors, path);
    for (const tensor of tensors.values()) tensor.dispose();
  };
  load("model.safetensors", (tensors, origin) => model.loadStateDict(tensors, origin));
  load(optimizerFile, (tensors, origin) => optimizer.loadStateDict(tensors, checkpoint.updates ?? checkpoint.step, origin));
  // Checkpoints of earlier versions have no such file; their training drew nothing from the generator.
  if (existsSync(join(checkpoint.folder, randomFile))) {
    load(randomFile, (tensors, origin) => {
      const state = tensors.get("cpu");
      if (state === undefined) throw new ModelFormatError(`${origin}: the state of the random generator is missing.`);
      setRandomState(state);
      const ofGpu = tensors.get(gpuRandom);
      const { device } = model.logitScale;
      if (ofGpu !== undefined && worksAside(device)) setRandomState(ofGpu, device);
    });
  }
}
