/**
 * Running other programs: quietly with a log, or for their answer.
 */
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, createWriteStream, mkdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { SetupError } from "./report.mjs";

/** Lines of a log that are shown when a program fails: the first, where compilers and npm name the cause, and the last. */
const shownFirst = 10;
const shownLast = 20;

/**
 * Runs a program with its output going to a log file. When set-up ends by a signal, the program and all it started end too.
 *
 * @param {readonly [string, ...string[]]} command
 * @param {{ log: string, what: string, verbose?: boolean, cwd?: string, env?: NodeJS.ProcessEnv, mend?: string }} options
 *   `what` names the deed in messages; `mend` is what to do when it fails
 * @throws {SetupError} with the end of the log, when the program can't be started or fails
 */
export async function runLogged([file, ...args], { log, what, verbose = false, cwd, env, mend }) {
  mkdirSync(path.dirname(log), { recursive: true });
  const sink = createWriteStream(log);
  sink.write(`$ ${[file, ...args].join(" ")}\n`);
  // A process group of its own, so that one signal reaches compilers below make below cmake.
  const child = spawn(file, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
  const stop = () => {
    if (child.pid !== undefined) endGroup(child.pid);
  };
  process.once("exit", stop);
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      sink.write(chunk);
      if (verbose) process.stderr.write(chunk);
    });
  }
  const ending = await new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(code === 0 ? undefined : signal ? `killed by ${signal}` : `exit code ${code}`));
  });
  process.removeListener("exit", stop);
  await new Promise((resolve) => sink.end(resolve));
  if (ending === undefined) return;
  const lines = excerpt(readFileSync(log, "utf8").trimEnd().split("\n"));
  throw new SetupError(
    `${what}: ${file}: ${ending}\n${lines.map((line) => `  | ${line}`).join("\n")}`,
    `${mend ?? "Mend what the lines above say, then run the same command again."}\nThe whole log: ${log}`,
  );
}

/** @param {string[]} lines */
function excerpt(lines) {
  const between = lines.length - shownFirst - shownLast;
  return between <= 0 ? lines : [...lines.slice(0, shownFirst), `... ${between} more lines ...`, ...lines.slice(-shownLast)];
}

/** @param {number} leader process id of the group's first member */
function endGroup(leader) {
  try {
    process.kill(-leader, "SIGTERM");
  } catch (error) {
    // ESRCH: it has just ended; EPERM: it runs as root below sudo and outlives us.
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}

/**
 * What a program prints on standard output, trimmed; undefined when it is not there or fails.
 * @param {readonly [string, ...string[]]} command
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string, timeout?: number }} [options] `timeout` in milliseconds
 * @returns {string | undefined}
 */
export function ask([file, ...args], { env = process.env, cwd, timeout = 30_000 } = {}) {
  const answer = spawnSync(file, args, {
    cwd,
    env: { ...env, LC_ALL: "C" },
    timeout,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return answer.status === 0 ? answer.stdout.trim() : undefined;
}

/**
 * The first of `names` that PATH has, as an absolute path.
 * @param {readonly string[]} names
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | undefined}
 */
export function which(names, env) {
  for (const name of names) {
    if (name.includes("/")) {
      if (executable(name)) return path.resolve(name);
      continue;
    }
    for (const folder of (env.PATH ?? "").split(path.delimiter)) {
      if (folder === "") continue;
      const file = path.join(folder, name);
      if (executable(file)) return file;
    }
  }
  return undefined;
}

/** @param {string} file */
function executable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
