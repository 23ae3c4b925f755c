/**
 * What a result may take the place of: nothing that is read, nothing in a folder that is read, and of other files only an earlier result of
 * the same kind, so that the same command can be given twice.
 */
import { type Stats, closeSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import { UsageError } from "./errors.ts";
import { explainReadFailure } from "./files.ts";

/** What a result must not take the place of. */
export interface KeptFiles {
  /** Files that are read. Those that are not there, such as addresses, say nothing. */
  inputs?: readonly string[];
  /** Folders that are read and belong to this program: nothing at all is put into them. */
  folders?: readonly string[];
  /** Whether the file that is there is an earlier result of the same kind. Default: that can't be told, and any other file is replaced. */
  isEarlier?: (path: string) => boolean | Promise<boolean>;
}

/**
 * Refuses a place for a result where something lies that would be lost. An empty file, and what is no plain file, is left to the writer.
 * @throws UsageError when it is an input, lies in a folder that is read, or is a file of another kind
 */
export async function refuseToReplace(path: string, { inputs = [], folders = [], isEarlier }: KeptFiles): Promise<void> {
  const place = realPlace(path);
  for (const folder of folders) {
    const kept = realPlace(folder);
    if (place !== kept && !place.startsWith(`${kept}${sep}`)) continue;
    throw new UsageError(`${path}: this lies in ${folder}, which is read and stays as it is.`, { mend: "Name a place outside of it." });
  }
  const there = lookAt(path);
  if (!there?.isFile()) return;
  for (const input of inputs) {
    const read = lookAt(input);
    if (read === undefined || read.dev !== there.dev || read.ino !== there.ino) continue;
    throw new UsageError(`${path}: what is written would take the place of this file, which is read.`, { mend: "Give another name." });
  }
  if (isEarlier === undefined || there.size === 0 || (await isEarlier(path))) return;
  throw new UsageError(`${path}: this file is there already, and is no earlier result of this command: it is not replaced.`, {
    mend: "Give another name, or delete the file first if nobody needs it.",
  });
}

/**
 * The first bytes of a file as text, 64 KiB at most: enough to tell what kind of file it is.
 * @throws DataError when it may not be read
 */
export function beginningOf(path: string): string {
  try {
    const bytes = Buffer.alloc(65_536);
    const file = openSync(path, "r");
    try {
      return bytes.toString("utf8", 0, readSync(file, bytes));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw explainReadFailure(error, path);
  }
}

/** What is there; undefined for nothing, which is what lies below a file, too. The writer says better what is wrong with such a place. */
function lookAt(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** Where a path leads once all links are followed, also where nothing is there yet. */
function realPlace(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    const above = dirname(absolute);
    return above === absolute ? absolute : join(realPlace(above), basename(absolute));
  }
}
