/**
 * Finding a libtorch to build against: `LACLIP_LIBTORCH`, a pip-installed torch, our own `build/venv`, then the system's package.
 *
 * Nothing is loaded for it: Python is asked where its package `torch` lies without importing it, and versions are read from headers.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { ask, which } from "./programs.mjs";
import { SetupError } from "./report.mjs";

/**
 * A libtorch that the addon can be built against.
 * @typedef {object} Libtorch
 * @property {"folder" | "pip" | "own" | "system"} kind `folder`: named by LACLIP_LIBTORCH; `own`: the wheel in build/venv
 * @property {string} path the folder that holds `lib/` and `include/`
 * @property {string} libFolder where libtorch.so lies
 * @property {string[]} includeFolders
 * @property {string} version such as "2.13.0+cpu" or "1.13.0"
 * @property {string | null} cuda version of CUDA that it was built with; null for a CPU build
 * @property {boolean} cxx11abi whether its strings are those of C++11 (wheels before 2.7 had the older ones)
 * @property {number} cxxStandard 17 or what its CMake package asks for, if that is more
 * @property {boolean} [withoutNccl] leaves NCCL out of the addon; default: it is in where its header is
 */

/** Oldest version that the addon builds against. */
export const oldestVersion = [1, 13];

/** Python's answer to "where is torch": without importing it, and from `/`, so that no folder named torch here is mistaken for it. */
const question = `
import importlib.util, json
spec = importlib.util.find_spec("torch")
folders = list(spec.submodule_search_locations or []) if spec else []
print(json.dumps({"torch": folders[0] if folders else None}))
`;

/**
 * @param {{ env: NodeJS.ProcessEnv, ownVenv: string, systemPrefixes?: readonly string[], wheel?: boolean }} where
 *   `wheel`: pass over the system's package
 * @returns {{ libtorch: Libtorch | undefined, refused: string[] }} `refused` says why candidates were passed over
 * @throws {SetupError} when LACLIP_LIBTORCH names something that is no usable libtorch
 */
export function findLibtorch({ env, ownVenv, systemPrefixes = ["/usr/local", "/usr"], wheel = false }) {
  /** @type {string[]} */
  const refused = [];

  if (env.LACLIP_LIBTORCH) {
    const folder = path.resolve(env.LACLIP_LIBTORCH);
    const asPackage = readPackage(folder, "folder");
    const found = typeof asPackage === "string" ? (readSystem(folder) ?? asPackage) : asPackage;
    if (typeof found === "string") {
      throw new SetupError(
        `LACLIP_LIBTORCH=${env.LACLIP_LIBTORCH} can't be used: ${found}`,
        "Name the folder of an unpacked libtorch or of a Python package torch (one with lib/libtorch.so and include/), /usr for the system's, or unset it.",
      );
    }
    return { libtorch: found, refused };
  }

  for (const { python, kind } of pythons(env, ownVenv)) {
    const torch = torchOfPython(python, env);
    if (torch === null) continue;
    const found = readPackage(torch, kind);
    if (typeof found !== "string") return { libtorch: found, refused };
    refused.push(`${torch}: ${found}`);
  }

  if (!wheel) {
    for (const prefix of systemPrefixes) {
      const found = readSystem(prefix);
      if (found === undefined) continue;
      if (typeof found !== "string") return { libtorch: found, refused };
      refused.push(`${prefix}: ${found}`);
    }
  }
  return { libtorch: undefined, refused };
}

/**
 * The Pythons to ask, most wanted first, each once.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} ownVenv
 * @returns {{ python: string, kind: "pip" | "own" }[]}
 */
function pythons(env, ownVenv) {
  const active = env.VIRTUAL_ENV ? which([path.join(env.VIRTUAL_ENV, "bin", "python")], env) : undefined;
  const named = [active, which(["python3"], env), which(["python"], env)];
  const own = which([path.join(ownVenv, "bin", "python")], env);
  const unique = [...new Set(named)].filter((python) => python !== undefined && python !== own);
  return [
    ...unique.map((python) => ({ python: String(python), kind: /** @type {const} */ ("pip") })),
    ...(own ? [{ python: own, kind: /** @type {const} */ ("own") }] : []),
  ];
}

/**
 * The folder of a Python's package torch; null when it has none.
 * @param {string} python
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | null}
 */
export function torchOfPython(python, env) {
  const answer = ask([python, "-c", question], { env, cwd: "/" });
  if (answer === undefined) return null;
  // A start-up file of that Python may have printed something of its own before.
  return JSON.parse(answer.slice(answer.lastIndexOf("\n") + 1)).torch;
}

/**
 * Reads a folder with `lib/` and `include/`, as the libtorch archive and the Python package both have them.
 * @param {string} folder
 * @param {"folder" | "pip" | "own"} kind
 * @returns {Libtorch | string} the libtorch, or why it can't be used
 */
export function readPackage(folder, kind) {
  const libFolder = path.join(folder, "lib");
  const include = path.join(folder, "include");
  if (!existsSync(path.join(libFolder, "libtorch.so"))) return "it has no lib/libtorch.so";
  return read({ kind, path: folder, libFolder, include, cmake: path.join(folder, "share", "cmake", "Torch") });
}

/**
 * Reads the distribution's libtorch below a prefix such as /usr.
 * @param {string} prefix
 * @returns {Libtorch | string | undefined} undefined when there is none, a sentence when there is one that can't be used
 */
export function readSystem(prefix) {
  const libFolder = systemLibFolders(prefix).find((folder) => existsSync(path.join(folder, "libtorch.so")));
  if (libFolder === undefined) return undefined;
  return read({
    kind: "system",
    path: prefix,
    libFolder,
    include: path.join(prefix, "include"),
    cmake: path.join(libFolder, "cmake", "Torch"),
  });
}

/** @param {string} prefix */
function systemLibFolders(prefix) {
  const machine = { x64: "x86_64", arm64: "aarch64" }[/** @type {string} */ (process.arch)] ?? process.arch;
  return [path.join(prefix, "lib", `${machine}-linux-gnu`), path.join(prefix, "lib64"), path.join(prefix, "lib")];
}

/**
 * @param {{ kind: Libtorch["kind"], path: string, libFolder: string, include: string, cmake: string }} where
 * @returns {Libtorch | string}
 */
function read({ kind, path: folder, libFolder, include, cmake }) {
  for (const name of ["libtorch_cpu.so", "libc10.so"]) {
    if (!existsSync(path.join(libFolder, name))) return `${libFolder} has libtorch.so but no ${name}`;
  }
  const api = path.join(include, "torch", "csrc", "api", "include");
  if (!existsSync(path.join(include, "ATen", "ATen.h"))) return `it has libraries but no headers (${include}/ATen is missing)`;
  const version = versionOf(folder, include);
  if (version === undefined) return `no version in ${api}/torch/version.h`;
  if (!atLeast(version, oldestVersion)) return `it is libtorch ${version}, and laclip needs ${oldestVersion.join(".")} or newer`;
  const cuda = cudaOf(folder, libFolder);
  return {
    kind,
    path: folder,
    libFolder,
    includeFolders: [include, api, ...(cuda === null ? [] : cudaHeaders(folder))],
    version,
    cuda,
    cxx11abi: usesCxx11Strings(path.join(libFolder, "libc10.so")),
    cxxStandard: Math.max(17, cxxStandardOf(path.join(cmake, "TorchConfig.cmake"))),
  };
}

/**
 * The version as Python's package or the archive states it, else as the headers do.
 * @param {string} folder
 * @param {string} include
 */
function versionOf(folder, include) {
  const stated =
    /^__version__ = '(.+)'$/m.exec(readIfThere(path.join(folder, "version.py")))?.[1] ??
    readIfThere(path.join(folder, "build-version")).trim();
  if (stated !== "") return stated;
  for (const header of ["torch/headeronly/version.h", "torch/csrc/api/include/torch/version.h"]) {
    const text = readIfThere(path.join(include, header));
    const parts = ["MAJOR", "MINOR", "PATCH"].map((part) => new RegExp(`TORCH_VERSION_${part} (\\d+)`).exec(text)?.[1]);
    if (parts.every((part) => part !== undefined)) return parts.join(".");
  }
  return undefined;
}

/**
 * @param {string} version
 * @param {readonly number[]} oldest
 */
export function atLeast(version, oldest) {
  const parts = version.split(/[.+~-]/).map((part) => Number.parseInt(part, 10));
  for (const [i, least] of oldest.entries()) {
    const part = parts[i] ?? 0;
    if (part !== least) return part > least;
  }
  return true;
}

/**
 * @param {string} folder
 * @param {string} libFolder
 * @returns {string | null}
 */
function cudaOf(folder, libFolder) {
  if (!existsSync(path.join(libFolder, "libtorch_cuda.so"))) return null;
  return /^cuda\b.*= '(.+)'$/m.exec(readIfThere(path.join(folder, "version.py")))?.[1] ?? "unknown";
}

/**
 * Folders with CUDA's headers: those that the wheel's own dependencies brought, else an installed toolkit's. Wheels for CUDA 12 have a
 * folder for each library; what the addon includes needs those of cuBLAS, cuSPARSE and cuSOLVER too.
 * @param {string} folder the Python package torch
 */
function cudaHeaders(folder) {
  const nvidia = path.join(path.dirname(folder), "nvidia");
  const brought = existsSync(nvidia) ? readdirSync(nvidia).map((name) => path.join(nvidia, name, "include")) : [];
  const needed = ["cuda_runtime_api.h", "cublas_v2.h", "cusparse.h", "cusolverDn.h"];
  const folders = brought.filter((include) => needed.some((header) => existsSync(path.join(include, header))));
  const toolkit = "/usr/local/cuda/include";
  return existsSync(path.join(toolkit, "cuda_runtime_api.h")) ? [...folders, toolkit] : folders;
}

/**
 * Which std::string the library was built with, from the mangled name of a function that takes one and that every version exports.
 * @param {string} libc10
 */
function usesCxx11Strings(libc10) {
  return !readFileSync(libc10).includes("_ZN3c106detail14torchCheckFailEPKcS2_jRKSs");
}

/** @param {string} config */
function cxxStandardOf(config) {
  return Number(/CXX_STANDARD (\d+)/.exec(readIfThere(config))?.[1] ?? 17);
}

/** @param {string} file */
function readIfThere(file) {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}
