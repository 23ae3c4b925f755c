/**
 * The addon: C++ in `native/`, built by CMake against the libtorch that was found.
 *
 * Each combination of sources and libtorch has its own folder `build/native/<key>/`, and `build/native/current.json` names the one to
 * load. An addon gets its place by a rename, after it was checked and loaded once; so whatever is in place works.
 */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { checkLoads, hash, putInPlace, readRecord, removeOld, takeWorkFolder, writeRecord } from "./addon-folder.mjs";
import { ask, runLogged } from "./programs.mjs";
import { say, SetupError } from "./report.mjs";

/** Name of the addon's file. */
const addonName = "laclip_torch.node";

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
    const current = /** @type {CurrentAddon | undefined} */ (readRecord(folder));
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
  putInPlace(built, target);
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
    `-DLACLIP_GLOO_INCLUDE=${glooHeaders(libtorch) ?? ""}`,
    `-DLACLIP_NCCL_INCLUDE=${ncclHeaders(libtorch) ?? ""}`,
    `-DLACLIP_TORCH_RPATH=${libtorch.kind === "system" && libtorch.path === "/usr" ? "" : libtorch.libFolder}`,
    `-DLACLIP_CXX11_ABI=${libtorch.cxx11abi ? 1 : 0}`,
    `-DLACLIP_CXX_STANDARD=${libtorch.cxxStandard}`,
  ];
}

/**
 * The folder of the headers of Gloo, by which processes on CPUs train together. Only the distribution's libtorch fits those of the
 * distribution: a wheel has a Gloo of its own inside, mostly of another version, and does not bring its headers.
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
function glooHeaders({ kind, path: home, includeFolders }) {
  const folders = [...includeFolders, ...(kind === "system" ? [path.join(home, "include")] : [])];
  return folders.find((folder) => existsSync(path.join(folder, "gloo", "config.h")));
}

/**
 * The folder of NCCL's header: beside a CUDA wheel, or a toolkit's.
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
function ncclHeaders({ path: home, cuda, withoutNccl }) {
  if (cuda === null || withoutNccl) return undefined;
  const folders = [path.join(path.dirname(home), "nvidia", "nccl", "include"), "/usr/local/cuda/include", "/usr/include"];
  return folders.find((folder) => existsSync(path.join(folder, "nccl.h")));
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
 * What an addon depends on: its sources, the libtorch, the headers of Gloo and NCCL, and the machine's kind. Node's version plays no part beyond its major number, since
 * Node-API is stable.
 * @param {string} root
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
export function keyOf(root, libtorch) {
  const native = path.join(root, "native");
  const sources = [
    "CMakeLists.txt",
    ...readdirSync(path.join(native, "src"), { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => path.relative(native, path.join(parentPath, name)))
      .sort(),
  ];
  const library = statSync(path.join(libtorch.libFolder, "libtorch_cpu.so"));
  return hash([
    process.arch,
    process.versions.node.split(".")[0] ?? "",
    JSON.stringify(libtorch),
    // Installing them later makes another addon.
    `${glooHeaders(libtorch) ?? ""} ${ncclHeaders(libtorch) ?? ""}`,
    `${library.size} ${library.mtimeMs}`,
    ...sources.flatMap((name) => [name, readFileSync(path.join(native, name), "utf8")]),
  ]);
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
  writeRecord(folder, current);
}
