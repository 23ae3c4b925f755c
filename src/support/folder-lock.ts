/**
 * A lock file against two writers in one folder, which a killed process does not leave locked for ever.
 *
 * The file names the process that holds it. A holder on this machine that is no longer alive has lost the lock; process numbers
 * are used again, so the time at which the process started is compared too, where the system tells it.
 */
import { randomUUID } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { DataError } from "./errors.ts";
import { explainWriteFailure, writeFileSynced } from "./files.ts";

interface Holder {
  pid: number;
  host: string;
  /** Clock ticks between the machine's start and the process's; "" where unknown. */
  started: string;
}

/** A lock that this process holds on a folder. */
export class FolderLock {
  #held = true;

  private constructor(private readonly path: string) {}

  /**
   * Takes the lock or fails.
   * @param path the lock file
   * @param what the thing that is locked, in words
   * @throws DataError when another process that is alive, or one on another machine, holds it
   */
  static take(path: string, what: string): FolderLock {
    const own: Holder = { pid: process.pid, host: hostname(), started: startOf(process.pid) };
    const beside = `${path}.${own.pid}-${randomUUID()}`;
    writeFileSynced(beside, `${JSON.stringify(own)}\n`);
    try {
      for (let attempt = 0; attempt < 5; attempt++) {
        try {
          // A hard link appears whole or not at all: nobody can read a lock that is half written.
          linkSync(beside, path);
          return new FolderLock(path);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw explainWriteFailure(error, path);
        }
        const holder = readHolder(path);
        if (holder && isAlive(holder, own)) throw busy(path, what, holder, own);
        evict(path, `${beside}-old`, own, what);
      }
      throw new DataError(`${path}: several processes are trying to write this ${what} at once.`, { mend: "Start only one." });
    } finally {
      rmSync(beside, { force: true });
    }
  }

  /** Gives the lock back; calling it twice is harmless. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    rmSync(this.path, { force: true });
  }
}

function busy(path: string, what: string, holder: Holder, own: Holder): DataError {
  const where = holder.host === own.host ? `process ${holder.pid}` : `process ${holder.pid} on ${holder.host}`;
  return new DataError(`${path}: this ${what} is being written by ${where}.`, {
    mend: `Wait until it is done. If it is not running any more, delete ${path}.`,
  });
}

/** Takes away the lock of a dead process. If another process was faster and the lock is now a living one's, it gets it back. */
function evict(path: string, aside: string, own: Holder, what: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw explainWriteFailure(error, path);
  }
  const holder = readHolder(aside);
  try {
    if (!holder || !isAlive(holder, own)) return;
    linkSync(aside, path);
    throw busy(path, what, holder, own);
  } finally {
    rmSync(aside, { force: true });
  }
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Holder;
  } catch {
    // Gone in the meantime, or cut short by a crash while it was written: nobody holds it.
    return undefined;
  }
}

function isAlive(holder: Holder, own: Holder): boolean {
  if (holder.host !== own.host) return true;
  if (holder.pid === own.pid) return holder.started === own.started;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  const started = startOf(holder.pid);
  return started === "" || holder.started === "" || started === holder.started;
}

function startOf(pid: number): string {
  try {
    // Field 22 of proc(5) stat; the name in field 2 may itself hold spaces and brackets.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}
