/**
 * One set-up at a time in one clone: a lock file that names its holder.
 *
 * The holder is a process id together with the time at which that process started, so that neither a crash nor a reused id leaves the
 * lock closed for ever.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { say } from "./report.mjs";

/** Milliseconds between two looks at a lock that somebody else holds. */
const pause = 200;

/**
 * Runs `work` while holding the lock, waiting for another holder first.
 * @template T
 * @param {string} file
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(file, work) {
  mkdirSync(path.dirname(file), { recursive: true });
  const mine = JSON.stringify({ pid: process.pid, started: startOf(process.pid) });
  let told = false;
  while (!take(file, mine)) {
    const theirs = read(file);
    if (theirs === undefined) continue;
    const holder = holderOf(theirs);
    if (holder === undefined) {
      clear(file, theirs);
      continue;
    }
    if (!told) say(`waiting for another set-up of this folder (process ${holder})`);
    told = true;
    await sleep(pause);
  }
  const release = () => {
    if (read(file) === mine) rmSync(file, { force: true });
  };
  // Ends by signal too, so that the next call need not find out that we are gone.
  const interrupted = (/** @type {NodeJS.Signals} */ signal) => process.exit(signal === "SIGINT" ? 130 : 143);
  process.once("exit", release);
  process.on("SIGINT", interrupted);
  process.on("SIGTERM", interrupted);
  try {
    return await work();
  } finally {
    release();
    process.removeListener("exit", release);
    process.removeListener("SIGINT", interrupted);
    process.removeListener("SIGTERM", interrupted);
  }
}

/**
 * Puts the lock in place with its content in one go: a lock without a holder's name would look abandoned.
 * @param {string} file
 * @param {string} content
 */
function take(file, content) {
  const own = `${file}.${process.pid}`;
  writeFileSync(own, content);
  try {
    linkSync(own, file);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(own, { force: true });
  }
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Removes an abandoned lock, unless another process was quicker and the file is already somebody's new lock.
 * @param {string} file
 * @param {string} abandoned
 */
function clear(file, abandoned) {
  const aside = `${file}.stale.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === "ENOENT") return;
    throw error;
  }
  if (readFileSync(aside, "utf8") !== abandoned) {
    try {
      linkSync(aside, file);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EEXIST") throw error;
    }
  }
  rmSync(aside, { force: true });
}

/**
 * The process that a lock names; undefined when it is gone.
 * @param {string} content
 * @returns {number | undefined}
 */
function holderOf(content) {
  try {
    const { pid, started } = JSON.parse(content);
    const now = startOf(pid);
    return now !== undefined && now === started ? pid : undefined;
  } catch {
    return undefined;
  }
}

/**
 * When a process started, in the kernel's clock ticks since boot; undefined for one that does not exist.
 * @param {number} pid
 */
function startOf(pid) {
  try {
    // The command name, in parentheses, may itself hold spaces and parentheses; the start is the 20th field after it.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
