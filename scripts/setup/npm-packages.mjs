/**
 * npm packages: `node_modules` as `package-lock.json` wants it.
 *
 * npm keeps beside the packages a lock file of what it installed (`node_modules/.package-lock.json`), so that a comparison of two JSON
 * files answers whether there is anything to do, also after somebody ran `npm ci` by hand.
 */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import path from "node:path";
import { SetupError, say } from "./report.mjs";
import { runLogged } from "./programs.mjs";

/** @type {import("./report.mjs").Step} */
export const npmPackagesStep = {
  name: "npm packages",
  missing: async ({ root }) => whyNpmPackages(root),
  async supply({ root, build, verbose, env }, why) {
    refuseLink(path.join(root, "node_modules"), why);
    say(`installing npm packages, since ${why}`);
    // TypeScript is a development dependency and is needed also where NODE_ENV says "production".
    await runLogged(["npm", "ci", "--include=dev", "--no-audit", "--no-fund"], {
      log: path.join(build, "npm.log"),
      what: "installing npm packages",
      cwd: root,
      env,
      verbose,
    });
    writeFileSync(stampOf(root), lockHash(root));
  },
};

/**
 * npm empties the folder that it fills: through a link, the packages of whomever the folder belongs to would be gone.
 * @param {string} folder
 * @param {string} why
 */
function refuseLink(folder, why) {
  if (!lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink() || !existsSync(folder)) return;
  throw new SetupError(
    `${folder} is a link to ${realpathSync(folder)}, and ${why}. npm would take away what is there before it installs.`,
    "Remove the link, for packages of this clone's own; or bring up to date what it leads to.",
  );
}

/** Says that npm did all it could for a lock file: an optional package that is missing then could not be had. */
function stampOf(/** @type {string} */ root) {
  return path.join(root, "node_modules", ".laclip-lock");
}

/** @param {string} root */
function lockHash(root) {
  return createHash("sha256")
    .update(readFileSync(path.join(root, "package-lock.json")))
    .digest("hex");
}

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
  const direct = wanted[""]?.optionalDependencies ?? {};
  const tried = existsSync(stampOf(root)) && readFileSync(stampOf(root), "utf8") === lockHash(root);
  for (const [folder, entry] of Object.entries(wanted)) {
    if (folder === "" || entry.link) continue;
    const name = folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
    const found = installed[folder];
    if (found === undefined) {
      if (entry.optional && (tried || (!(folder === `node_modules/${name}` && name in direct) && !isForThisMachine(entry)))) continue;
      return `package ${name} is missing`;
    }
    if (found.version !== entry.version) return `package ${name} is ${found.version}, package-lock.json wants ${entry.version}`;
    if (!existsSync(path.join(root, folder))) return `folder ${folder} is missing`;
  }
  return undefined;
}

/**
 * True for a build that names this machine's system and processor; false for one of another machine, and for one that names none.
 * @param {LockedPackage} entry
 */
function isForThisMachine({ os, cpu, libc }) {
  if (os === undefined || cpu === undefined) return false;
  if (!os.includes(process.platform) || !cpu.includes(process.arch)) return false;
  return libc === undefined || libc.includes(existsSync("/etc/alpine-release") ? "musl" : "glibc");
}

/**
 * A package as the lock file lists it.
 * @typedef {object} LockedPackage
 * @property {string} [version]
 * @property {boolean} [optional]
 * @property {boolean} [link]
 * @property {string[]} [os]
 * @property {string[]} [cpu]
 * @property {string[]} [libc]
 * @property {Record<string, string>} [optionalDependencies]
 */

/**
 * @param {string} file
 * @returns {Record<string, LockedPackage> | undefined}
 */
function readPackages(file) {
  if (!existsSync(file)) return undefined;
  return JSON.parse(readFileSync(file, "utf8")).packages;
}
