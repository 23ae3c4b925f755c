/**
 * The compiled program in `dist/`. TypeScript's own build mode knows what is out of date, and asking it costs a fifth of a second.
 */
import { existsSync } from "node:fs";
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
    return outdated === 0 ? undefined : `${outdated} of its rooms are out of date`;
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
  },
};

/** @param {string} root */
function compilerOf(root) {
  return path.join(root, "node_modules", "typescript", "bin", "tsc");
}
