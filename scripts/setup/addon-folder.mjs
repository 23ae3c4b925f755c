/**
 * The folder of an addon below `build/`: `<key>/NAME.node` for each combination of sources and libraries, `current.json` that names the
 * one to load, and `work-*` with the objects of the last builds.
 *
 * An addon gets its place by a rename, after it was loaded once; so whatever is in place works.
 */
import { createHash, randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ask } from "./programs.mjs";
import { SetupError } from "./report.mjs";

/** How many addons are kept: going back and forth between two libraries builds nothing anew. */
const kept = 4;

/** A short name that is another one when any of the parts is. @param {readonly string[]} parts */
export function hash(parts) {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(`${part.length}:${part}`);
  return sum.digest("hex").slice(0, 16);
}

/**
 * The folder in which the objects for one library are kept, so that a change to one source compiles that source alone. A folder whose
 * last build was killed may hold half an object and is thrown away; `finish` marks that this build ended in order.
 * @param {string} folder
 * @param {string} name
 */
export function takeWorkFolder(folder, name) {
  mkdirSync(folder, { recursive: true });
  const mark = "ended-in-order";
  /** @type {string | undefined} */
  let reuse;
  for (const entry of readdirSync(folder).filter((entry) => entry.startsWith("work-"))) {
    const inOrder = existsSync(path.join(folder, entry, mark));
    if (inOrder && entry.startsWith(`work-${name}-`)) reuse = path.join(folder, entry);
    if (!inOrder) rmSync(path.join(folder, entry), { recursive: true, force: true });
  }
  const work = reuse ?? path.join(folder, `work-${name}-${randomBytes(4).toString("hex")}`);
  mkdirSync(work, { recursive: true });
  rmSync(path.join(work, mark), { force: true });
  return { path: work, finish: () => writeFileSync(path.join(work, mark), "") };
}

/**
 * Loads the addon once in a process of its own.
 * @param {string} addon
 * @param {NodeJS.ProcessEnv} env
 */
export function checkLoads(addon, env) {
  if (ask([process.execPath, "-e", `process.dlopen(module, ${JSON.stringify(addon)}); console.log("loaded")`], { env }) === "loaded")
    return;
  throw new SetupError(
    `the addon was built but does not load (${addon})`,
    `See why with: node -e 'process.dlopen(module, ${JSON.stringify(addon)})'`,
  );
}

/**
 * Puts an addon that was built and checked into its folder.
 * @param {string} built
 * @param {string} target folder of its key
 */
export function putInPlace(built, target) {
  const part = `${target}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  copyFileSync(built, path.join(part, path.basename(built)));
  rmSync(target, { recursive: true, force: true });
  renameSync(part, target);
}

/**
 * What `current.json` holds; undefined when there is none.
 * @param {string} folder
 * @returns {{ addon: string } | undefined}
 */
export function readRecord(folder) {
  const file = path.join(folder, "current.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
}

/**
 * @param {string} folder
 * @param {{ addon: string }} record
 */
export function writeRecord(folder, record) {
  const part = path.join(folder, "current.json.part");
  writeFileSync(part, `${JSON.stringify(record, undefined, 2)}\n`);
  renameSync(part, path.join(folder, "current.json"));
}

/**
 * Removes the addons that were not used for longest.
 * @param {string} folder
 * @param {string} current
 */
export function removeOld(folder, current) {
  const others = readdirSync(folder)
    .filter((name) => name !== current && /^[0-9a-f]{16}$/.test(name))
    .map((name) => ({ name, time: statSync(path.join(folder, name)).mtimeMs }))
    .sort((a, b) => b.time - a.time);
  for (const { name } of others.slice(kept - 1)) rmSync(path.join(folder, name), { recursive: true, force: true });
}
