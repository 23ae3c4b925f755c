/**
 * The bytes of a checkpoint on their way to disk; runs in a thread of its own, and knows nothing of tensors.
 *
 * The folder is written beside its place, its manifest last; then it is synced and renamed. A kill at any point leaves the checkpoints
 * that were there, and at most a folder that the next start sweeps away.
 */
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type StoredTensor, writeSafetensors } from "../formats/index.ts";
import { explainReplacing, makeFolder, sha256File, syncFolder, writeFileSynced } from "../support/index.ts";

/** Name of the file with the SHA-256 of all others. */
export const manifestFile = "manifest.json";

/** A checkpoint as copies in memory, and where it belongs. */
export interface CheckpointJob {
  /** Folder of all checkpoints. */
  root: string;
  /** Name of the checkpoint's folder in it. */
  name: string;
  /** Files of tensors, by name. */
  tensors: Record<string, [string, StoredTensor][]>;
  /** Files of text, by name. */
  texts: Record<string, string>;
  /** For tests: the disk is full after the first file; the process is killed at the point of this number; so many milliseconds more. */
  faults?: { fullDisk?: boolean; killAt?: number; slow?: number };
}

/** Prefix of folders that are being written. */
export const writingPrefix = ".writing-";
/** Prefix of folders that are being removed. */
export const removingPrefix = ".removing-";

/** @throws LaclipError when the disk is full or the folder may not be written; what was there stays */
export async function writeCheckpoint({ root, name, tensors, texts, faults = {} }: CheckpointJob): Promise<void> {
  const place = join(root, name);
  const beside = join(root, `${writingPrefix}${process.pid}`);
  let point = 0;
  const reached = (): void => {
    if (++point === faults.killAt) process.kill(process.pid, "SIGKILL");
  };
  try {
    rmSync(beside, { recursive: true, force: true });
    makeFolder(beside);
    reached();
    if (faults.slow !== undefined) await sleep(faults.slow);
    for (const [file, stored] of Object.entries(tensors)) {
      writeSafetensors(join(beside, file), stored);
      reached();
      if (faults.fullDisk === true) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    }
    for (const [file, text] of Object.entries(texts)) writeFileSynced(join(beside, file), text);
    reached();
    const sums: Record<string, string> = {};
    for (const file of readdirSync(beside).toSorted()) sums[file] = await sha256File(join(beside, file));
    writeFileSynced(join(beside, manifestFile), `${JSON.stringify({ sha256: sums }, null, 2)}\n`);
    syncFolder(beside);
    reached();
    // A folder can't be renamed over another: the old one steps aside, so that at no moment it is half there.
    if (existsSync(place)) removeCheckpoint(place);
    renameSync(beside, place);
    reached();
    syncFolder(root);
    reached();
  } catch (error) {
    rmSync(beside, { recursive: true, force: true });
    throw explainReplacing(error, beside, place);
  }
}

/** Removes a checkpoint so that at no moment a half of it is found. */
export function removeCheckpoint(folder: string): void {
  const aside = join(folder, "..", `${removingPrefix}${process.pid}-${folder.split("/").at(-1)}`);
  renameSync(folder, aside);
  rmSync(aside, { recursive: true, force: true });
}
