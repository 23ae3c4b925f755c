/**
 * The addon: C++ in `native/`, built by CMake against the libtorch that was found.
 *
 * Each combination of sources and libtorch has its own folder `build/native/<key>/`, and `build/native/current.json` names the one to
 * load. An addon gets its place by a rename, after it was checked and loaded once; so whatever is in place works.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { ask, runLogged } from "./programs.mjs";
import { say, SetupError } from "./report.mjs";

/** Name of the addon's file. */
const addonName = "laclip_torch.node";

/** How many addons are kept: going back and forth between two libtorches builds nothing anew. */
const kept = 4;

/**
 * What `build/native/current.json` holds; the loader and `laclip doctor` read it.
 * @typedef {object} CurrentAddon
 * @property {string} addon path of the addon, relative to the folder of current.json
 * @property {{ kind: string, path: string, libFolder: string, version: string, cuda: string | null, cxx11abi: boolean }} libtorch
 * @property {string} builtAt ISO 8601
 */

/** @type {import("./report.mjs").Step} */
export const addonStep = {
  name: "addon",
  async missing({ root, build, libtorch }) {
    if (libtorch === undefined) return "it needs a libtorch";
    const folder = path.join(build, "native");
    const key = keyOf(root, libtorch);
    if (!existsSync(path.join(folder, key, addonName))) return `there is none for libtorch ${libtorch.version} and these sources`;
    const current = readCurrent(folder);
    return current?.addon === path.join(key, addonName) ? undefined : "another one is in use";
  },
  async supply(context, why) {
    const { root, build, libtorch } = context;
    if (libtorch === undefined) throw new Error("the addon's step ran before a libtorch was found");
    const folder = path.join(build, "native");
    const key = keyOf(root, libtorch);
    if (!existsSync(path.join(folder, key, addonName))) {
      say(`building the addon against libtorch ${libtorch.version} (${libtorch.libFolder}), since ${why}; this takes a minute or two`);
      await buildInto(path.join(folder, key), context, libtorch);
    } else {
      say(`using the addon for libtorch ${libtorch.version} (${libtorch.libFolder}), built before`);
    }
    writeCurrent(folder, key, libtorch);
    removeOld(folder, key);
  },
};

/**
 * Builds, checks and puts in place.
 * @param {string} target the folder that the addon gets
 * @param {import("./report.mjs").Context} context
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
async function buildInto(target, { root, build, env, verbose }, libtorch) {
  const folder = path.join(build, "native");
  const work = takeWorkFolder(folder, hash([libtorch.libFolder, libtorch.version, env.CXX ?? ""]));
  const log = path.join(folder, "build.log");
  await runLogged(["cmake", "-S", path.join(root, "native"), "-B", work.path, ...cmakeSettings(root, libtorch)], {
    log: path.join(folder, "configure.log"),
    what: "configuring the addon",
    env,
    verbose,
  });
  await runLogged(["cmake", "--build", work.path, "--parallel", String(os.availableParallelism())], {
    log,
    what: "building the addon",
    env,
    verbose,
  }).finally(work.finish);

  const built = path.join(work.path, addonName);
  checkLinks(built, libtorch);
  checkLoads(built, env);
  const part = `${target}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  copyFileSync(built, path.join(part, addonName));
  rmSync(target, { recursive: true, force: true });
  renameSync(part, target);
}

/**
 * The folder in which the objects for one libtorch are kept, so that a change to one source compiles that source alone. A folder whose
 * last build was killed may hold half an object and is thrown away; `finish` marks that this build ended in order.
 * @param {string} folder
 * @param {string} name
 */
function takeWorkFolder(folder, name) {
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
 * @param {string} root
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
function cmakeSettings(root, libtorch) {
  const { include_dir: nodeHeaders } = createRequire(path.join(root, "package.json"))("node-api-headers");
  return [
    "-DCMAKE_BUILD_TYPE=Release",
    `-DLACLIP_NODE_INCLUDE=${nodeHeaders}`,
    `-DLACLIP_TORCH_LIB=${libtorch.libFolder}`,
    // A compiler's own folders must stay in its own order, or its headers no longer find the C library's.
    `-DLACLIP_TORCH_INCLUDE=${libtorch.includeFolders.filter((include) => include !== "/usr/include").join(";")}`,
    `-DLACLIP_TORCH_CUDA=${libtorch.cuda === null ? "OFF" : "ON"}`,
    `-DLACLIP_TORCH_RPATH=${libtorch.kind === "system" && libtorch.path === "/usr" ? "" : libtorch.libFolder}`,
    `-DLACLIP_CXX11_ABI=${libtorch.cxx11abi ? 1 : 0}`,
    `-DLACLIP_CXX_STANDARD=${libtorch.cxxStandard}`,
  ];
}

/**
 * Proves that the addon reaches the libtorch that was chosen, and no second one: with two in one process, each has its own dispatcher,
 * and the program ends in an abort.
 * @param {string} addon
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
export function checkLinks(addon, libtorch) {
  const links = ask(["ldd", addon]);
  if (links === undefined) throw new SetupError(`ldd can't read the addon that was built (${addon})`, "Run `npm run setup -- --verbose`.");
  const home = realpathSync(libtorch.libFolder);
  for (const line of links.split("\n").map((text) => text.trim())) {
    const [, name = "", target = ""] = /^(\S+) => (not found|\S+)/.exec(line) ?? [];
    if (target === "not found") {
      throw new SetupError(
        `the addon needs ${name}, which is not found`,
        `It belongs to the libtorch in ${libtorch.libFolder}: install what that needs, or name another in LACLIP_LIBTORCH.`,
      );
    }
    if (/^lib(torch|c10)/.test(name) && path.dirname(realpathSync(target)) !== home) {
      throw new SetupError(
        `the addon was built against ${home}, but would load ${name} from ${target}`,
        "Unset LD_LIBRARY_PATH and LD_PRELOAD where they name another libtorch, or name that one in LACLIP_LIBTORCH.",
      );
    }
  }
}

/**
 * Loads the addon once in a process of its own.
 * @param {string} addon
 * @param {NodeJS.ProcessEnv} env
 */
function checkLoads(addon, env) {
  if (ask([process.execPath, "-e", `process.dlopen(module, ${JSON.stringify(addon)}); console.log("loaded")`], { env }) === "loaded")
    return;
  throw new SetupError(
    `the addon was built but does not load (${addon})`,
    `See why with: node -e 'process.dlopen(module, ${JSON.stringify(addon)})'`,
  );
}

/**
 * What an addon depends on: its sources, the libtorch, and the machine's kind. Node's version plays no part beyond its major number, since
 * Node-API is stable.
 * @param {string} root
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
export function keyOf(root, libtorch) {
  const native = path.join(root, "native");
  const sources = [
    "CMakeLists.txt",
    ...readdirSync(path.join(native, "src"))
      .sort()
      .map((name) => path.join("src", name)),
  ];
  const library = statSync(path.join(libtorch.libFolder, "libtorch_cpu.so"));
  return hash([
    process.arch,
    process.versions.node.split(".")[0] ?? "",
    JSON.stringify(libtorch),
    `${library.size} ${library.mtimeMs}`,
    ...sources.flatMap((name) => [name, readFileSync(path.join(native, name), "utf8")]),
  ]);
}

/** @param {readonly string[]} parts */
function hash(parts) {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(`${part.length}:${part}`);
  return sum.digest("hex").slice(0, 16);
}

/**
 * @param {string} folder
 * @returns {CurrentAddon | undefined}
 */
function readCurrent(folder) {
  const file = path.join(folder, "current.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
}

/**
 * @param {string} folder
 * @param {string} key
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
function writeCurrent(folder, key, { kind, path: home, libFolder, version, cuda, cxx11abi }) {
  const addon = path.join(key, addonName);
  /** @type {CurrentAddon} */
  const current = {
    addon,
    libtorch: { kind, path: home, libFolder, version, cuda, cxx11abi },
    builtAt: statSync(path.join(folder, addon)).mtime.toISOString(),
  };
  const part = path.join(folder, "current.json.part");
  writeFileSync(part, `${JSON.stringify(current, undefined, 2)}\n`);
  renameSync(part, path.join(folder, "current.json"));
}

/**
 * Removes the addons that were not used for longest.
 * @param {string} folder
 * @param {string} current
 */
function removeOld(folder, current) {
  const others = readdirSync(folder)
    .filter((name) => name !== current && /^[0-9a-f]{16}$/.test(name))
    .map((name) => ({ name, time: statSync(path.join(folder, name)).mtimeMs }))
    .sort((a, b) => b.time - a.time);
  for (const { name } of others.slice(kept - 1)) rmSync(path.join(folder, name), { recursive: true, force: true });
}
