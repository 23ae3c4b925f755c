/**
 * npm packages: `node_modules` as `package-lock.json` wants it.
 *
 * npm keeps beside the packages a lock file of what it installed (`node_modules/.package-lock.json`), so that a comparison of two JSON
 * files answers whether there is anything to do, also after somebody ran `npm ci` by hand.
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { say } from "./report.mjs";
import { runLogged } from "./programs.mjs";

/** @type {import("./report.mjs").Step} */
export const npmPackagesStep = {
  name: "npm packages",
  missing: async ({ root }) => whyNpmPackages(root),
  async supply({ root, build, verbose, env }, why) {
    say(`installing npm packages, since ${why}`);
    // TypeScript is a development dependency and is needed also where NODE_ENV says "production".
    await runLogged(["npm", "ci", "--include=dev", "--no-audit", "--no-fund"], {
      log: path.join(build, "npm.log"),
      what: "installing npm packages",
      cwd: root,
      env,
      verbose,
    });
  },
};

/**
 * Why npm has something to do in `root`; undefined when all packages are there. A copy of laclip that was itself installed by npm has no
 * lock file, and its packages are npm's own care.
 * @param {string} root
 * @returns {string | undefined}
 */
export function whyNpmPackages(root) {
  const wanted = readPackages(path.join(root, "package-lock.json"));
  if (wanted === undefined) return undefined;
  const installed = readPackages(path.join(root, "node_modules", ".package-lock.json"));
  if (installed === undefined) return "node_modules is missing";
  for (const [folder, { version, optional, link }] of Object.entries(wanted)) {
    if (folder === "" || link) continue;
    const name = folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
    const found = installed[folder];
    // Optional packages of other platforms are absent on purpose.
    if (found === undefined && optional) continue;
    if (found === undefined) return `package ${name} is missing`;
    if (found.version !== version) return `package ${name} is ${found.version}, package-lock.json wants ${version}`;
    if (!existsSync(path.join(root, folder))) return `folder ${folder} is missing`;
  }
  return undefined;
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, optional?: boolean, link?: boolean }> | undefined}
 */
function readPackages(file) {
  if (!existsSync(file)) return undefined;
  return JSON.parse(readFileSync(file, "utf8")).packages;
}
