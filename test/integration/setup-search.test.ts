/**
 * Which libtorch the set-up takes, and what it would install: on folders made here, with the real Python asked where its torch lies.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

interface Libtorch {
  kind: string;
  path: string;
  libFolder: string;
  includeFolders: string[];
  version: string;
  cuda: string | null;
  cxx11abi: boolean;
  cxxStandard: number;
}
interface Search {
  findLibtorch: (where: { env: NodeJS.ProcessEnv; ownVenv: string; systemPrefixes: string[]; wheel?: boolean }) => {
    libtorch: Libtorch | undefined;
    refused: string[];
  };
}
interface Plan {
  planPackages: (facts: Record<string, unknown>) => { packages: string[]; way: string };
}

const scripts = new URL("../../../scripts/setup/", import.meta.url);
const { findLibtorch } = (await import(new URL("find-libtorch.mjs", scripts).href)) as Search;
const { planPackages } = (await import(new URL("system-packages.mjs", scripts).href)) as Plan;

const newStrings = "_ZN3c106detail14torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE";
const oldStrings = "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs";
const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
const python = spawnSync("python3", ["--version"]).status === 0;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "laclip-search-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function put(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

/** A tree with the files that the search reads; `libraries` is relative to `home`. */
function libtorchAt(home: string, { version = "2.13.0", libraries = "lib", strings = newStrings, headers = true } = {}): void {
  for (const name of ["libtorch.so", "libtorch_cpu.so"]) put(join(home, libraries, name), "ELF");
  put(join(home, libraries, "libc10.so"), `ELF\0${strings}\0`);
  if (!headers) return;
  const [major, minor, patch] = version.split(".");
  put(join(home, "include/ATen/ATen.h"), "");
  put(
    join(home, "include/torch/csrc/api/include/torch/version.h"),
    `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n#define TORCH_VERSION_PATCH ${patch}\n`,
  );
}

/** A Python package torch that ends the process when it is imported. */
function pythonTorchAt(site: string, version: string): string {
  const home = join(site, "torch");
  libtorchAt(home);
  put(join(home, "__init__.py"), "raise SystemExit('torch was imported')\n");
  put(join(home, "version.py"), `from typing import Optional\n__version__ = '${version}'\ncuda: Optional[str] = None\n`);
  return home;
}

/** The environment of a shell in which `python3` is the machine's and finds packages in `site`. */
function shell(site: string): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], PYTHONPATH: site };
}

test("with only the system's package, that is taken", () => {
  libtorchAt(join(folder, "usr"), { version: "1.13.0", libraries: `lib/${machine}-linux-gnu` });
  const { libtorch } = findLibtorch({
    env: { PATH: "" },
    ownVenv: join(folder, "none"),
    systemPrefixes: [join(folder, "local"), join(folder, "usr")],
  });
  assert.equal(libtorch?.kind, "system");
  assert.equal(libtorch.version, "1.13.0");
  assert.equal(libtorch.libFolder, join(folder, "usr/lib", `${machine}-linux-gnu`));
  assert.equal(libtorch.cxxStandard, 17);
});

test("a torch of Python comes before the system's, and is found without importing it", { skip: !python && "needs python3" }, () => {
  libtorchAt(join(folder, "usr"), { version: "1.13.0" });
  const home = pythonTorchAt(join(folder, "site"), "2.13.0+cpu");
  put(join(home, "share/cmake/Torch/TorchConfig.cmake"), "set_target_properties(torch PROPERTIES\n    CXX_STANDARD 20\n)");
  const where = { env: shell(join(folder, "site")), ownVenv: join(folder, "none"), systemPrefixes: [join(folder, "usr")] };
  const { libtorch } = findLibtorch(where);
  assert.equal(libtorch?.kind, "pip");
  assert.equal(libtorch.path, home);
  assert.equal(libtorch.version, "2.13.0+cpu");
  assert.equal(libtorch.cuda, null);
  assert.equal(libtorch.cxxStandard, 20);
});

test("LACLIP_LIBTORCH comes before both, and a wrong one is an error instead of a silent second choice", () => {
  libtorchAt(join(folder, "usr"));
  libtorchAt(join(folder, "mine"), { version: "2.4.1" });
  const search = (named: string) =>
    findLibtorch({ env: { PATH: "", LACLIP_LIBTORCH: named }, ownVenv: join(folder, "none"), systemPrefixes: [join(folder, "usr")] });
  assert.equal(search(join(folder, "mine")).libtorch?.version, "2.4.1");
  assert.throws(() => search(join(folder, "nowhere")), /LACLIP_LIBTORCH=.*nowhere can't be used: it has no lib\/libtorch\.so/u);
});

test("LACLIP_LIBTORCH can name a prefix with the system's layout", () => {
  libtorchAt(join(folder, "usr"), { version: "1.13.0", libraries: `lib/${machine}-linux-gnu` });
  const { libtorch } = findLibtorch({ env: { PATH: "", LACLIP_LIBTORCH: join(folder, "usr") }, ownVenv: "", systemPrefixes: [] });
  assert.equal(libtorch?.kind, "system");
});

test("the wheel of the set-up's own environment is found, and --wheel passes over the system's package", () => {
  libtorchAt(join(folder, "usr"));
  const own = join(folder, "venv");
  const home = join(own, "lib/python3/site-packages/torch");
  libtorchAt(home, { version: "2.13.0" });
  put(join(own, "bin/python"), `#!/bin/sh\necho '{"torch": "${home}"}'\n`);
  const where = { env: { PATH: "" }, systemPrefixes: [join(folder, "usr")] };
  assert.equal(findLibtorch({ ...where, ownVenv: own }).libtorch?.kind, "system", "a file that can't be run is no Python");
  chmodSync(join(own, "bin/python"), 0o755);
  assert.equal(findLibtorch({ ...where, ownVenv: own }).libtorch?.kind, "own");
  assert.equal(findLibtorch({ ...where, ownVenv: join(folder, "none"), wheel: true }).libtorch, undefined);
});

test("one that is too old, or has no headers, is passed over and the reason is kept", () => {
  libtorchAt(join(folder, "old"), { version: "1.7.1" });
  libtorchAt(join(folder, "bare"), { headers: false });
  libtorchAt(join(folder, "good"), { version: "1.13.1" });
  const prefixes = ["old", "bare", "good"].map((name) => join(folder, name));
  const { libtorch, refused } = findLibtorch({ env: { PATH: "" }, ownVenv: "", systemPrefixes: prefixes });
  assert.equal(libtorch?.path, join(folder, "good"));
  assert.match(refused[0]!, /libtorch 1\.7\.1, and laclip needs 1\.13/u);
  assert.match(refused[1]!, /no headers/u);
});

test("the string ABI is read from the library, CUDA from the package", () => {
  const home = join(folder, "torch");
  libtorchAt(home, { strings: oldStrings });
  put(join(home, "lib/libtorch_cuda.so"), "ELF");
  put(join(home, "version.py"), "__version__ = '2.4.1+cu121'\ncuda = '12.1'\n");
  const { libtorch } = findLibtorch({ env: { PATH: "", LACLIP_LIBTORCH: home }, ownVenv: "", systemPrefixes: [] });
  assert.equal(libtorch?.cxx11abi, false);
  assert.equal(libtorch.cuda, "12.1");
  assert.equal(libtorch.version, "2.4.1+cu121");
});

const bare = { tools: [], libtorch: "none", wheelAsked: false, gpu: false, candidate: "1.13.1+dfsg-4", venv: true, libjpeg: true };

test("the distribution's package comes with a fast BLAS, in one go with missing tools", () => {
  const { packages, way } = planPackages({ ...bare, tools: [{ name: "CMake", packageName: "cmake" }] });
  assert.equal(way, "package");
  assert.deepEqual(packages, ["cmake", "libtorch-dev", "libopenblas0-openmp", "libgloo-dev"]);
});

test("libjpeg-turbo comes with the other packages, or alone", () => {
  const tools = [{ name: "CMake", packageName: "cmake" }];
  assert.deepEqual(planPackages({ ...bare, tools, libtorch: "slow", libjpeg: false }).packages, [
    "cmake",
    "libjpeg-dev",
    "libopenblas0-openmp",
  ]);
  assert.deepEqual(planPackages({ ...bare, libtorch: "there", libjpeg: false }), { packages: ["libjpeg-dev"], way: "nothing" });
});

test("a GPU, an old distribution, one without the package, and --wheel each lead to a wheel", () => {
  for (const facts of [{ gpu: true }, { candidate: "1.7.1-7" }, { candidate: undefined }, { wheelAsked: true }]) {
    assert.deepEqual(planPackages({ ...bare, ...facts }), { packages: [], way: "wheel" }, JSON.stringify(facts));
  }
  assert.deepEqual(planPackages({ ...bare, gpu: true, venv: false }).packages, ["python3-venv"]);
});

test("a libtorch that is there is kept; one on the reference BLAS gets OpenBLAS", () => {
  assert.deepEqual(planPackages({ ...bare, libtorch: "there", gpu: true }), { packages: [], way: "nothing" });
  assert.deepEqual(planPackages({ ...bare, libtorch: "slow" }), { packages: ["libopenblas0-openmp"], way: "nothing" });
});
