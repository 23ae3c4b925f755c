/**
 * A lock file against two writers in one folder, which a killed process does not leave locked for ever.
 *
 * The file names the process that holds it. A holder on this machine that is no longer alive has lost the lock at once; process
 * numbers are used again, so the time at which the process started is compared too, where the system tells it. A holder anywhere
 * else is known by its heartbeat only: it changes the file's time every few seconds. Whoever wants the lock watches whether that
 * time changes, and measures how long it does not by a clock that only counts up: what time any machine believes it is, or a jump
 * of its clock, has no part in it.
 */
import { randomUUID } from "node:crypto";
import {
  closeSync,
  fstatSync,
  futimesSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { DataError, InterruptedError } from "./errors.ts";
import { explainWriteFailure, writeFileSynced } from "./files.ts";
import { log } from "./log.ts";
import { pause } from "./pause.ts";

interface Holder {
  pid: number;
  host: string;
  /** Names the start of the machine's system and, in it, the space of process numbers (a container has its own); "" where unknown. */
  machine?: string;
  /** Clock ticks between the machine's start and the process's; "" where unknown. */
  started: string;
  /** Different for every lock that was ever taken. */
  token?: string;
}

/** How a lock is waited for. */
export interface AcquireOptions {
  /** Seconds without a heartbeat after which a holder on another machine counts as gone. Default 30. */
  staleSeconds?: number;
  /** Gives up waiting; then InterruptedError is thrown. */
  signal?: AbortSignal | undefined;
}

/** A folder that another process is writing: it may be free later. */
export class FolderBusyError extends DataError {}

/** Seconds between two heartbeats: several fit into the shortest time after which a holder counts as gone. */
const beatSeconds = 5;

/** A lock that this process holds on a folder. */
export class FolderLock {
  readonly #path: string;
  readonly #what: string;
  readonly #token: string;
  readonly #file: number;
  readonly #timer: NodeJS.Timeout;
  #time = 0;
  #seenAt = now();
  #held = true;

  private constructor(path: string, what: string, { token, file }: { token: string; file: number }) {
    this.#path = path;
    this.#what = what;
    this.#token = token;
    this.#file = file;
    this.#timer = setInterval(() => this.#beat(), beatSeconds * 1000).unref();
  }

  /**
   * Takes the lock or fails.
   * @param path the lock file
   * @param what the thing that is locked, in words
   * @throws DataError when another process that is alive, or one on another machine, holds it
   */
  static take(path: string, what: string): FolderLock {
    const taken = FolderLock.#attempt(path, what);
    if (taken instanceof FolderLock) return taken;
    throw busy(path, what, taken);
  }

  /**
   * Takes the lock or fails, and watches a holder on another machine for its heartbeat first.
   * @param path the lock file
   * @param what the thing that is locked, in words
   * @throws DataError when another process holds it and is alive, InterruptedError when stopped
   */
  static async acquire(path: string, what: string, { staleSeconds = 30, signal }: AcquireOptions = {}): Promise<FolderLock> {
    for (;;) {
      const taken = FolderLock.#attempt(path, what);
      if (taken instanceof FolderLock) return taken;
      const silent = await fellSilent(path, { holder: taken, what, seconds: staleSeconds, signal });
      if (signal?.aborted) throw new InterruptedError(`Stopped while ${path} was waited for.`, { mend: "Start the same command again." });
      if (!silent) throw busy(path, what, taken);
      evict(path, (holder) => holder.token !== taken.token);
    }
  }

  /**
   * Makes sure that the lock is still this process's; nearly free while its heartbeat is fresh.
   * @throws DataError when another process took it, since this one stood still for too long
   */
  assertHeld(): void {
    const { steady, date } = now();
    // A machine that was suspended may have counted that time in one of its clocks only.
    const gap = Math.max(steady - this.#seenAt.steady, Math.abs(date - this.#seenAt.date));
    if (this.#held && gap > 2000 * beatSeconds) this.#beat();
    if (this.#held) return;
    throw new DataError(`${this.#path}: the lock of this ${this.#what} is gone: another process took it over while this one stood still.`, {
      mend: "Nothing is lost. Start the same command again when the other one is done.",
    });
  }

  /** Gives the lock back; calling it twice is harmless. */
  release(): void {
    if (!this.#held) return;
    if (this.#isMine() !== false) rmSync(this.#path, { force: true });
    this.#letGo();
  }

  /** The holder of a lock on another machine, where it is held there; throws where it is held here. */
  static #attempt(path: string, what: string): FolderLock | Holder {
    const own = describeSelf();
    const beside = `${path}.${own.pid}-${own.token}`;
    let file: number;
    try {
      writeFileSynced(beside, `${JSON.stringify(own)}\n`);
      file = openSync(beside, "r");
    } catch (error) {
      rmSync(beside, { force: true });
      throw explainWriteFailure(error, path);
    }
    let taken = false;
    try {
      for (let tries = 0; tries < 5; tries++) {
        try {
          // A hard link appears whole or not at all: nobody can read a lock that is half written.
          linkSync(beside, path);
          taken = true;
          const lock = new FolderLock(path, what, { token: own.token, file });
          sweep(path, own, file);
          return lock;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw explainWriteFailure(error, path);
        }
        const holder = readHolder(path);
        const alive = holder ? isAlive(holder, own) : false;
        if (alive === true) throw busy(path, what, holder!);
        if (alive === undefined) return holder!;
        evict(path, (other) => isAlive(other, own) !== false);
      }
      throw new DataError(`${path}: several processes are trying to write this ${what} at once.`, { mend: "Start only one." });
    } finally {
      if (!taken) closeSync(file);
      rmSync(beside, { force: true });
    }
  }

  #beat(): void {
    const mine = this.#isMine();
    if (mine === undefined) return;
    if (!mine) return this.#letGo();
    try {
      // Any other time than before will do; it is set through the file that was opened, which can't have become another's.
      this.#time = Math.max(this.#time + 1, Date.now());
      futimesSync(this.#file, this.#time / 1000, this.#time / 1000);
      this.#seenAt = now();
    } catch (error) {
      log.debug(`${this.#path}: no heartbeat: ${(error as Error).message}`);
    }
  }

  /** Undefined where it can't be told for the moment: whoever else wants the lock can't reach the folder either. */
  #isMine(): boolean | undefined {
    try {
      return readHolder(this.#path)?.token === this.#token;
    } catch {
      return undefined;
    }
  }

  #letGo(): void {
    if (!this.#held) return;
    this.#held = false;
    clearInterval(this.#timer);
    closeSync(this.#file);
  }
}

/** Milliseconds of the clock that only counts up, and of the one that tells the time. */
function now(): { readonly steady: number; readonly date: number } {
  return { steady: performance.now(), date: Date.now() };
}

/** Takes a lock away. Where another process was faster and the lock is by now one that `lives`, it is put back. */
function evict(path: string, lives: (holder: Holder) => boolean): void {
  const aside = `${path}.${process.pid}-${randomUUID()}-old`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw explainWriteFailure(error, path);
  }
  try {
    const holder = readHolder(aside);
    if (holder && lives(holder)) linkSync(aside, path);
  } catch (error) {
    // A third one was faster still. Who lost the lock by this finds out before it writes again.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Milliseconds after which a file beside a lock is nobody's any more: whoever made it needed it for a moment only. */
const leftoverAge = 3_600_000;

/**
 * Deletes what processes that were killed in the middle of taking this lock left beside it. A living one's files are not touched: what
 * they say of a process tells, and where it can't be asked, their age by the clock of the file system, which the lock's `file` has.
 */
function sweep(path: string, own: Holder, file: number): void {
  const [folder, prefix] = [dirname(path), `${basename(path)}.`];
  const harmless = (body: () => void): void => {
    try {
      body();
    } catch (error) {
      // They take up a few bytes and disturb nobody.
      log.debug(`${path}: what was left beside it stays: ${(error as Error).message}`);
    }
  };
  harmless(() => {
    const time = fstatSync(file).mtimeMs;
    const names = readdirSync(folder).filter((name) => name.startsWith(prefix));
    for (const name of names.filter((one) => /^\d+-[\da-f-]{36}(-old)?$/.test(one.slice(prefix.length)))) {
      harmless(() => {
        const left = join(folder, name);
        const holder = readHolder(left);
        const gone = holder !== undefined && isAlive(holder, own) === false;
        if (gone || time - statSync(left).mtimeMs > leftoverAge) rmSync(left, { force: true });
      });
    }
  });
}

interface Watch {
  holder: Holder;
  what: string;
  seconds: number;
  signal: AbortSignal | undefined;
}

/** Watches a lock; true when its holder gave no sign of life for so long, or the lock went away. */
async function fellSilent(path: string, { holder, what, seconds, signal }: Watch): Promise<boolean> {
  log.info(`${path}: this ${what} is locked by process ${holder.pid} on ${holder.host}; looking for ${seconds} s whether it is alive`);
  const [first, started] = [heartbeat(path), performance.now()];
  while (performance.now() - started < seconds * 1000) {
    await pause(Math.min(1, seconds / 4), signal);
    const beat = heartbeat(path);
    if (beat === undefined) return true;
    if (beat !== first || signal?.aborted) return false;
  }
  return true;
}

/** What a holder's heartbeat changes; undefined where there is no lock. */
function heartbeat(path: string): string | undefined {
  let file: number | undefined;
  try {
    // Opened, not only asked about: network file systems look at the server again then, and else believe what they last heard.
    file = openSync(path, "r");
    readSync(file, Buffer.alloc(1));
    const { ino, mtimeMs } = fstatSync(file);
    return `${ino} ${mtimeMs}`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function busy(path: string, what: string, holder: Holder): FolderBusyError {
  const where = holder.host === hostname() ? `process ${holder.pid}` : `process ${holder.pid} on ${holder.host}`;
  return new FolderBusyError(`${path}: this ${what} is being written by ${where}.`, {
    mend: `Wait until it is done. If it is not running any more, delete ${path}.`,
  });
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Holder;
  } catch (error) {
    // Gone in the meantime, or cut short by a crash while it was written: nobody holds it.
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether a holder is alive; undefined where its machine can't be asked. */
function isAlive(holder: Holder, own: Holder): boolean | undefined {
  const here = holder.host === own.host && (holder.machine === own.machine || holder.machine === undefined);
  if (!here) return undefined;
  if (holder.pid === own.pid) return holder.started === own.started;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  const started = startOf(holder.pid);
  return started === "" || holder.started === "" || started === holder.started;
}

function describeSelf(): Holder & { token: string } {
  return { pid: process.pid, host: hostname(), machine: machineOf(), started: startOf(process.pid), token: randomUUID() };
}

function machineOf(): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return "";
  }
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
