/**
 * Reading and writing files so that nothing goes wrong in silence: what can't be done is said in words that a person can act on.
 */
import { createHash } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  createReadStream,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, resolve, sep } from "node:path";
import { DataError, LaclipError, UsageError } from "./errors.ts";
import { log } from "./log.ts";

/** Writes a new file and waits until it is on disk. */
export function writeFileSynced(path: string, content: string | Uint8Array): void {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
  const file = openSync(path, "w");
  try {
    writeAll(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Most bytes of one call: the kernel takes 2 GiB at most. */
const atOnce = 1 << 30;

/**
 * Writes all of `bytes` to an open file: a disk that is nearly full takes the beginning alone, and says that it is full only when it is
 * asked to take the rest.
 * @param position where they go; without it, where the file stands
 * @throws the system's error; then a part of them may be there
 */
export function writeAll(file: number, bytes: Uint8Array, position?: number): void {
  for (let at = 0; at < bytes.byteLength;) {
    const length = Math.min(bytes.byteLength - at, atOnce);
    at += writeSync(file, bytes, at, length, position === undefined ? null : position + at);
  }
}

/** Makes renames and new names in `folder` survive a power cut. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/**
 * Removes what a failure has left, a file or a folder. Where that fails too, it stays: what is to be told is why the work failed, and
 * often both have one reason.
 */
export function clearAway(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    log.debug(`${path}: this is left over and can't be removed: ${(error as Error).message}`);
  }
}

/**
 * Makes a folder and those above it, where they are not there yet.
 * @throws UsageError when a file lies in its place, LaclipError when the disk is full or not to be written to
 */
export function makeFolder(path: string): void {
  try {
    makeWithParents(resolve(path));
    // One that is there already may be on a disk that can't be written to.
    accessSync(path, constants.W_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw explainWriteFailure(error, path);
    throw new UsageError(`${path}: no folder can be made there.`, { mend: "Give another place.", cause: error });
  }
}

/**
 * Folder by folder from above, so that the first that can't be made says why. Node's own way says of a read-only disk that there is no such
 * folder, and below /proc it tries for ever.
 */
function makeWithParents(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  const above = dirname(path);
  if (above !== path) makeWithParents(above);
  try {
    mkdirSync(path);
  } catch (error) {
    // Another process may have been quicker.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !statSync(path).isDirectory()) throw error;
  }
}

/** Why something could not be written, by what was said of it. */
const writeFailures = new WeakMap<object, { reason: unknown; path: string }>();

/** A full disk, a missing permission, a file where a folder belongs: said so that the reader can act; other errors unchanged. */
export function explainWriteFailure(error: unknown, path: string): unknown {
  const explained = explainedFailure(error, path);
  if (explained === undefined) return error;
  writeFailures.set(explained, { reason: error, path });
  return explained;
}

/**
 * The same for what was written at `beside` and belongs at `path`: what was already said of `beside`, or of a file in it, is said of the
 * one that it was to become, since nobody knows the other name.
 */
export function explainReplacing(error: unknown, beside: string, path: string): unknown {
  const said = typeof error === "object" && error !== null ? writeFailures.get(error) : undefined;
  if (said === undefined) return explainWriteFailure(error, path);
  if (said.path !== beside && !said.path.startsWith(`${beside}${sep}`)) return error;
  return explainWriteFailure(said.reason, `${path}${said.path.slice(beside.length)}`);
}

function explainedFailure(error: unknown, path: string): LaclipError | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new LaclipError(`${path}: the disk is full. What was saved before is untouched.`, {
      mend: "Free some space, then start the same command again: it goes on from the last saved state.",
      cause: error,
    });
  }
  if (code === "EFBIG") {
    return new LaclipError(`${path}: this file would be larger than files may be here. What was saved before is untouched.`, {
      mend: "Raise the limit on the size of files (`ulimit -f unlimited`), or write to a disk that takes larger ones; then start the same command again.",
      cause: error,
    });
  }
  if (code === "EROFS")
    return new LaclipError(`${path}: the disk is read-only.`, { mend: "Choose a folder on another disk.", cause: error });
  if (code === "EACCES" || code === "EPERM") {
    return new LaclipError(`${path}: no permission to write there.`, {
      mend: "Choose another folder, or change its permissions.",
      cause: error,
    });
  }
  if (code === "ENOENT") {
    return new UsageError(`${path}: there is no folder ${dirname(path)} to write it to.`, {
      mend: "Make the folder first, or give another place.",
      cause: error,
    });
  }
  if (code === "ENOTDIR" || code === "EEXIST" || code === "EISDIR") {
    return new UsageError(
      `${path}: nothing can be written there, since a file lies where a folder belongs, or a folder where a file does.`,
      {
        mend: "Give another place, or move what lies there elsewhere.",
        cause: error,
      },
    );
  }
  return undefined;
}

/** What the system itself is short of: it tells nothing of the file that was to be read. */
const shortages: Record<string, [what: string, mend: string]> = {
  ENOMEM: ["there is not enough memory to read it", "End other programs, or read fewer files at once."],
  EMFILE: ["this process has too many open files to read it", "Raise the limit (ulimit -n), then start the same command again."],
  ENFILE: ["this machine has too many open files to read it", "End other programs, then start the same command again."],
};

/**
 * Why a file can't be read, so that the reader can act: a `DataError` where the file is to blame, a plain `LaclipError` where the system is,
 * since a file must not count as broken for that. Errors without a code are left unchanged.
 * @param name of the file in messages
 * @param mend what to do about a file that is missing or can't be read
 */
export function explainReadFailure(error: unknown, name: string, mend?: string): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (typeof code !== "string") return error;
  const shortage = shortages[code];
  if (shortage) return new LaclipError(`${name}: ${shortage[0]}.`, { mend: shortage[1], cause: error });
  const reason = {
    ENOENT: (error as NodeJS.ErrnoException).syscall === "scandir" ? "no such folder" : "no such file",
    ENOTDIR: "this is a file, expected a folder",
    EISDIR: "this is a folder, expected a file",
    EACCES: "no permission to read it",
    ERR_FS_FILE_TOO_LARGE: "more than 2 GiB, which can't be read at once",
  }[code];
  return new DataError(`${name}: ${reason ?? `can't be read (${code})`}.`, { ...(mend !== undefined && { mend }), cause: error });
}

/**
 * The text of a file, without the byte order mark that some editors put before it.
 * @param what names the kind of file in messages ("recipe", "manifest")
 * @throws DataError when there is no such file, it is a folder, or it may not be read
 */
export function readText(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8").replace(/^\ufeff/, "");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") throw new DataError(`${path}: no such ${what}.`, { cause: error });
    if (code === "EISDIR") throw new DataError(`${path}: this is a folder, expected a ${what}.`, { cause: error });
    if (code === "EACCES" || code === "EPERM") throw new DataError(`${path}: no permission to read this ${what}.`, { cause: error });
    throw explainReadFailure(error, path);
  }
}

/** The bytes of a file. @throws DataError when there is no such file, it is a folder, or it may not be read */
export function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw explainReadFailure(error, path);
  }
}

/**
 * The names of what lies in a folder.
 * @throws DataError when there is no such folder, it is a file, or it may not be read
 */
export function readFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    throw explainReadFailure(error, path);
  }
}

/** The JSON value in a file; see `readText`. @throws DataError also when it is not JSON */
export function readJson(path: string, what: string): unknown {
  const text = readText(path, what);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(`${path}: this ${what} is not valid JSON (${(error as Error).message}).`, { cause: error });
  }
}

/** SHA-256 of a file's bytes, in hexadecimal. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** SHA-256 of text or bytes, in hexadecimal. */
export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
