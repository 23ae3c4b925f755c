/**
 * The compiled program in `dist/`. TypeScript's own build mode knows what is out of date, and asking it costs a fifth of a second.
 *
 * The command line's file is made executable: npm does that once when it links it, and a `dist/` that is made anew would lose it.
 */
import { accessSync, chmodSync, constants, existsSync } from "node:fs";
import path from "node:path";
import { ask, runLogged } from "./programs.mjs";
import { say } from "./report.mjs";

/** @type {import("./report.mjs").Step} */
export const typescriptStep = {
  name: "compiled TypeScript",
  async missing({ root }) {
    // A copy that npm installed comes compiled and has no sources.
    if (!existsSync(path.join(root, "tsconfig.json"))) return undefined;
    const compiler = compilerOf(root);
    if (!existsSync(compiler)) return "the compiler is not installed yet";
    const plan = ask([process.execPath, compiler, "-b", "--dry"], { cwd: root });
    if (plan === undefined) return "its state can't be told";
    const outdated = plan.split("\n").filter((line) => line.includes(" would ")).length;
    if (outdated > 0) return `${outdated} of its rooms are out of date`;
    return isExecutable(commandLine(root)) ? undefined : "the command line's file is not executable";
  },
  async supply({ root, build, verbose, env }, why) {
    say(`compiling TypeScript, since ${why}`);
    await runLogged([process.execPath, compilerOf(root), "-b", "--pretty", "false"], {
      log: path.join(build, "tsc.log"),
      what: "compiling TypeScript",
      cwd: root,
      env,
      verbose,
    });
    chmodSync(commandLine(root), 0o755);
  },
};

/** @param {string} root */
function commandLine(root) {
  return path.join(root, "dist", "src", "cli", "main.js");
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @param {string} root */
function compilerOf(root) {
  return path.join(root, "node_modules", "typescript", "bin", "tsc");
}
