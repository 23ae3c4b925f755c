/**
 * Folders that are either whole or not there: filled beside their place, then swapped in.
 *
 * A folder can't be renamed over another, so the old one steps aside first. Deleted in its place, an end in the middle would leave half
 * of it; so an end between the two renames leaves nothing there, and both folders whole beside it.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { clearAway, explainReplacing, makeFolder, syncFolder } from "./files.ts";

/** How a folder is replaced. */
export interface ReplaceFolderOptions {
  /**
   * A folder beside `path` to fill, which the caller has made, perhaps because a lock is held in it. It may hold what a killed process
   * left there. Default: a new one.
   */
  beside?: string;
}

/**
 * Replaces a folder by the one that `fill` fills. Files in it are not synced: `fill` does that where a power cut must not spoil them.
 * A failure takes away what was filled, leaves what was there, and speaks of files by the names that they would have had.
 * @throws LaclipError when the disk is full or not to be written to; whatever `fill` throws
 */
export async function replaceFolder(
  path: string,
  fill: (beside: string) => Promise<void>,
  { beside: given }: ReplaceFolderOptions = {},
): Promise<void> {
  // With a slash at its end, what is put beside it would lie in it.
  const place = path.replace(/(?<=[^/])\/+$/, "");
  const beside = given ?? `${place}.tmp-${process.pid}`;
  try {
    if (given === undefined) {
      rmSync(beside, { recursive: true, force: true });
      makeFolder(beside);
    }
    await fill(beside);
    syncFolder(beside);
    swapIn(beside, place);
  } catch (error) {
    clearAway(beside);
    throw explainReplacing(error, beside, place);
  }
}

function swapIn(beside: string, path: string): void {
  const before = `${beside}-before`;
  // What a killed process has left there is needed no more only now, since the new folder is whole.
  rmSync(before, { recursive: true, force: true });
  const replaced = existsSync(path);
  if (replaced) renameSync(path, before);
  try {
    renameSync(beside, path);
  } catch (error) {
    if (replaced) renameSync(before, path);
    throw error;
  }
  syncFolder(dirname(path));
  rmSync(before, { recursive: true, force: true });
}
