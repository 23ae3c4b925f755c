/**
 * The file of a page that a command will write at its end, made sure of at its beginning: after an hour of work is no time to find
 * that there is no place for it.
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { isPage } from "../pages/index.ts";
import { UsageError, beginningOf, makeFolder, refuseToReplace } from "../support/index.ts";

/**
 * Makes the folder that a page goes into, where there is none.
 * @param path the page, or undefined where none is wanted
 * @param folders of rewrites that are read: nothing is put into them
 * @throws UsageError when `path` is a folder, lies in one of `folders`, or is a file and no page; LaclipError when nothing can be written
 *   there
 */
export async function preparePage(path: string | undefined, folders: readonly string[] = []): Promise<void> {
  if (path === undefined) return;
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new UsageError(`${path}: this is a folder; the page goes into one file.`, { mend: "Name a file: --html page.html." });
  }
  await refuseToReplace(path, { folders, isEarlier: (file) => isPage(beginningOf(file)) });
  makeFolder(dirname(path));
}
