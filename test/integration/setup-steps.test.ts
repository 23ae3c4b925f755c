/**
 * The set-up's lock, its comparison of npm packages, its reports and its build of an addon, each with real processes and a real compiler.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

interface Lock {
  withLock: <T>(file: string, work: () => Promise<T>) => Promise<T>;
}
interface NpmPackages {
  whyNpmPackages: (root: string) => string | undefined;
  npmPackagesStep: { supply: (context: object, why: string) => Promise<void> };
}
interface Addon {
  checkLinks: (addon: string, libtorch: { libFolder: string }) => void;
}
interface LockFile {
  packages: Record<string, { version?: string; optional?: boolean; optionalDependencies?: Record<string, string> }>;
}

const root = fileURLToPath(new URL("../../../", import.meta.url));
const module = (name: string): string => join(root, "scripts", "setup", name);
const { withLock } = (await import(module("lock.mjs"))) as Lock;
const { whyNpmPackages, npmPackagesStep } = (await import(module("npm-packages.mjs"))) as NpmPackages;
const { checkLinks } = (await import(module("build-addon.mjs"))) as Addon;

const currentFile = join(root, "build", "native", "current.json");
const current = existsSync(currentFile)
  ? (JSON.parse(readFileSync(currentFile, "utf8")) as { addon: string; libtorch: { kind: string; path: string; libFolder: string } })
  : undefined;
/** The time-out only ends a test that hangs. */
const needsAddon = { skip: current === undefined && "needs an addon that the set-up has built", timeout: 600_000 };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "laclip-setup-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A process that takes the lock, says so, keeps it for `seconds`, and makes a file `done` before it gives it back. */
async function holder(file: string, seconds: number, done = ""): Promise<ChildProcess> {
  const program = `
    import { writeFileSync } from "node:fs";
    import { setTimeout as sleep } from "node:timers/promises";
    import { withLock } from ${JSON.stringify(module("lock.mjs"))};
    await withLock(${JSON.stringify(file)}, async () => {
      console.log("held");
      await sleep(${seconds * 1000});
      writeFileSync(${JSON.stringify(done)}, "");
    });
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "close").then(([code]) => assert.fail(`it ended with ${code} before it had the lock`));
  await Promise.race([once(child.stdout, "data"), ended]);
  return child;
}

test("a second set-up waits for the first and then goes on", async () => {
  const file = join(folder, "build", "setup.lock");
  const done = join(folder, "done");
  await holder(file, 1, done);
  await withLock(file, async () => assert.ok(existsSync(done), "the lock was given out twice"));
  assert.ok(!existsSync(file));
});

test("the lock of a killed process, or of one whose id was used again, is taken over", async () => {
  const file = join(folder, "setup.lock");
  const killed = await holder(file, 600);
  killed.kill("SIGKILL");
  await once(killed, "exit");
  assert.ok(existsSync(file));
  assert.equal(await withLock(file, async () => "mine"), "mine");

  writeFileSync(file, JSON.stringify({ pid: process.pid, started: "1" }));
  assert.equal(await withLock(file, async () => "mine"), "mine");
  assert.deepEqual(readdirSync(folder), []);
});

test("a set-up that is ended by a signal gives the lock back", async () => {
  const file = join(folder, "setup.lock");
  const child = await holder(file, 600);
  child.kill("SIGTERM");
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 143);
  assert.ok(!existsSync(file));
});

test("npm packages: complete, missing, of another version, and optional ones of other platforms", () => {
  const wanted = { "": {}, "node_modules/a": { version: "1.0.0" }, "node_modules/a/node_modules/b": { version: "2.0.0" } };
  const other = { "node_modules/a-win32": { version: "1.0.0", optional: true } };
  const write = (file: string, packages: object): void => writeFileSync(join(folder, file), JSON.stringify({ packages }));
  assert.equal(whyNpmPackages(folder), undefined, "a copy that npm installed has no lock file");
  write("package-lock.json", { ...wanted, ...other });
  assert.equal(whyNpmPackages(folder), "node_modules is missing");
  mkdirSync(join(folder, "node_modules/a/node_modules/b"), { recursive: true });
  write("node_modules/.package-lock.json", wanted);
  assert.equal(whyNpmPackages(folder), undefined);
  write("node_modules/.package-lock.json", { ...wanted, "node_modules/a": { version: "0.9.0" } });
  assert.equal(whyNpmPackages(folder), "package a is 0.9.0, package-lock.json wants 1.0.0");
  write("node_modules/.package-lock.json", { "node_modules/a": { version: "1.0.0" } });
  assert.equal(whyNpmPackages(folder), "package b is missing");
  write("node_modules/.package-lock.json", wanted);
  rmSync(join(folder, "node_modules/a/node_modules"), { recursive: true });
  assert.equal(whyNpmPackages(folder), "folder node_modules/a/node_modules/b is missing");
});

test("npm packages: an optional one is wanted when it is ours or built for this machine, until npm could not get it", () => {
  const write = (file: string, packages: object): void => writeFileSync(join(folder, file), JSON.stringify({ packages }));
  mkdirSync(join(folder, "node_modules"));
  write("node_modules/.package-lock.json", {});
  const foreign = { version: "1.0.0", optional: true, os: ["win32"], cpu: [process.arch] };
  write("package-lock.json", {
    "": {},
    "node_modules/a-win32": foreign,
    "node_modules/helper-of-one": { version: "1.0.0", optional: true },
  });
  assert.equal(whyNpmPackages(folder), undefined);
  write("package-lock.json", { "": {}, "node_modules/a-here": { ...foreign, os: [process.platform] } });
  assert.equal(whyNpmPackages(folder), "package a-here is missing");
  write("package-lock.json", { "": { optionalDependencies: { art: "1.0.0" } }, "node_modules/art": { version: "1.0.0", optional: true } });
  assert.equal(whyNpmPackages(folder), "package art is missing");
  const sum = createHash("sha256").update(readFileSync(join(folder, "package-lock.json")));
  writeFileSync(join(folder, "node_modules/.laclip-lock"), sum.digest("hex"));
  assert.equal(whyNpmPackages(folder), undefined, "asking npm again would change nothing");
});

test("npm packages: those of another clone, behind a link, are not touched", async () => {
  const theirs = join(folder, "theirs");
  mkdirSync(join(theirs, "a"), { recursive: true });
  symlinkSync(theirs, join(folder, "node_modules"));
  const supplied = npmPackagesStep.supply({ root: folder, build: folder, env: process.env }, "package b is missing");
  await assert.rejects(supplied, /node_modules is a link to .*theirs, and package b is missing\. npm would take away/);
  assert.deepEqual(readdirSync(theirs), ["a"]);
});

test("the lock file lists the optional packages of every platform, or `npm ci` refuses a fresh clone", () => {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as LockFile;
  const missing = Object.entries(packages).flatMap(([at, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter((name) => !found(packages, at, name)),
  );
  assert.deepEqual(missing, []);
});

/** Whether a package at `at` finds `name`, as Node looks for it: in its own folder, then in each above. */
function found(packages: LockFile["packages"], at: string, name: string): boolean {
  for (let base = at; ; base = base.slice(0, Math.max(0, base.lastIndexOf("/node_modules/")))) {
    if (`${base === "" ? "" : `${base}/`}node_modules/${name}` in packages) return true;
    if (base === "") return false;
    if (!base.includes("/node_modules/")) base = "";
  }
}

/** Runs a copy of the set-up in `folder`. */
function setUp(...args: string[]): { status: number | null; stderr: string } {
  return setUpIn({}, ...args);
}

function setUpIn(more: NodeJS.ProcessEnv, ...args: string[]): { status: number | null; stderr: string } {
  const libtorch = current && (current.libtorch.kind === "system" ? "/usr" : current.libtorch.path);
  const env = { ...process.env, ...(libtorch ? { LACLIP_LIBTORCH: libtorch } : {}), ...more };
  return spawnSync(process.execPath, [join(folder, "scripts", "setup.mjs"), ...args], { encoding: "utf8", env });
}

const imagesSource = "#include <node_api.h>\nNAPI_MODULE_INIT() { return env == nullptr ? nullptr : exports; }\n";

/** The set-up, and for images a small addon on the real build settings. */
function copyScripts(): void {
  cpSync(join(root, "scripts"), join(folder, "scripts"), { recursive: true });
  mkdirSync(join(folder, "native", "images", "src"), { recursive: true });
  cpSync(join(root, "native", "images", "CMakeLists.txt"), join(folder, "native", "images", "CMakeLists.txt"));
  writeFileSync(join(folder, "native", "images", "src", "images.cc"), imagesSource);
  cpSync(join(root, "package.json"), join(folder, "package.json"));
}

/** A package as npm installs it (no lock file, no TypeScript), with a small addon on the real build settings. */
function copyWithAddon(source: string): void {
  copyScripts();
  mkdirSync(join(folder, "native", "src"), { recursive: true });
  cpSync(join(root, "native", "CMakeLists.txt"), join(folder, "native", "CMakeLists.txt"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "native", "src", "addon.cc"), source);
}

const addonSource = (answer: number): string => `
#include <c10/core/Device.h>
#include <node_api.h>
NAPI_MODULE_INIT() {
  napi_value value;
  napi_create_int32(env, ${answer} + c10::Device("cpu").is_cpu(), &value);
  napi_set_named_property(env, exports, "answer", value);
  return exports;
}
`;

function answerOfCurrent(): unknown {
  const native = join(folder, "build", "native");
  const { addon } = JSON.parse(readFileSync(join(native, "current.json"), "utf8")) as { addon: string };
  return (createRequire(import.meta.url)(join(native, addon)) as { answer: number }).answer;
}

test("--check says what is missing and changes nothing; wrong options and help say what there is", () => {
  copyScripts();
  cpSync(join(root, "package-lock.json"), join(folder, "package-lock.json"));
  mkdirSync(join(folder, "native", "src"), { recursive: true });
  writeFileSync(join(folder, "native", "CMakeLists.txt"), "");
  const before = readdirSync(folder);
  const { status, stderr } = setUp("--check");
  assert.equal(status, 1);
  assert.match(stderr, /missing: npm packages: node_modules is missing/u);
  assert.match(stderr, /missing: addon: /u);
  assert.deepEqual(readdirSync(folder), before);
  assert.equal(setUp("--help").status, 0);
  const wrong = setUp("--chek");
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /--chek/u);
});

test("the addon that is in use reaches one libtorch only, and another folder is refused", needsAddon, () => {
  const addon = join(root, "build", "native", current!.addon);
  checkLinks(addon, current!.libtorch);
  assert.throws(() => checkLinks(addon, { libFolder: folder }), /built against .* but would load lib(torch|c10)/u);
});

test("builds once, rebuilds on a change, and a source that does not compile leaves the working addon in place", needsAddon, () => {
  copyWithAddon(addonSource(1));
  const first = setUp();
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stderr, /building the addon/u);
  assert.equal(answerOfCurrent(), 2);

  const second = setUp();
  assert.equal(second.status, 0, second.stderr);
  assert.match(second.stderr, /^set-up: everything is in place: [^\n]*\n$/u);

  writeFileSync(join(folder, "native", "src", "addon.cc"), addonSource(2).replace("napi_value value;", "napi_value;"));
  const broken = setUp();
  assert.equal(broken.status, 1);
  assert.match(broken.stderr, /building the addon: cmake: exit code/u);
  assert.match(broken.stderr, /addon\.cc:\d+:\d+: error/u);
  assert.match(broken.stderr, /The whole log: .*build\.log/u);
  assert.equal(answerOfCurrent(), 2);

  writeFileSync(join(folder, "native", "src", "addon.cc"), addonSource(2));
  assert.equal(setUp().status, 0);
  assert.equal(answerOfCurrent(), 3);

  writeFileSync(join(folder, "native", "src", "addon.cc"), addonSource(1));
  const back = setUp();
  assert.match(back.stderr, /using the addon .* built before/u);
  assert.equal(answerOfCurrent(), 2);
});

test("a build that is killed leaves no addon and no compiler behind, and the next one succeeds", needsAddon, async () => {
  copyWithAddon(addonSource(4));
  const pidFile = join(folder, "compiler.pid");
  const wait = join(folder, "wait");
  const compiler = join(folder, "slow-compiler");
  writeFileSync(
    compiler,
    `#!/bin/sh\ncase "$*" in *addon.cc*) if [ -e "${wait}" ]; then echo $$ > "${pidFile}"; exec sleep 600; fi;; esac\nexec c++ "$@"\n`,
    { mode: 0o755 },
  );
  writeFileSync(wait, "");
  const libtorch = current!.libtorch.kind === "system" ? "/usr" : current!.libtorch.path;
  const env = { ...process.env, CXX: compiler, LACLIP_LIBTORCH: libtorch };
  const child = spawn(process.execPath, [join(folder, "scripts", "setup.mjs")], { env, stdio: "ignore" });
  while (!existsSync(pidFile) || readFileSync(pidFile, "utf8") === "") {
    assert.equal(child.exitCode, null, "the set-up ended before it reached the compiler");
    await sleep(50);
  }
  child.kill("SIGTERM");
  await once(child, "exit");
  const pid = Number(readFileSync(pidFile, "utf8"));
  while (isRunning(pid)) await sleep(50);
  assert.ok(!existsSync(join(folder, "build", "native", "current.json")));

  rmSync(wait);
  const again = spawnSync(process.execPath, [join(folder, "scripts", "setup.mjs")], { env, encoding: "utf8" });
  assert.equal(again.status, 0, again.stderr);
  assert.equal(answerOfCurrent(), 5);
});

test(
  "where libjpeg-turbo is missing and can't be installed, the addon for images is built without it, and later with it",
  needsAddon,
  () => {
    copyWithAddon(addonSource(1));
    cpSync(join(root, "native", "images", "src"), join(folder, "native", "images", "src"), { recursive: true });
    rmSync(join(folder, "native", "images", "src", "images.cc"));
    const programs = join(folder, "programs");
    mkdirSync(programs);
    const program = (name: string, text: string): void => writeFileSync(join(programs, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    program("apt-get", `echo "$@" >> "${join(folder, "asked")}"; echo "no such package"; exit 100`);
    program("sudo", 'shift; exec "$@"');
    program("blind-compiler", 'case "$*" in *jpeglib.h*) exit 1;; esac; exec c++ "$@"');
    const poor = { PATH: `${programs}:${process.env["PATH"]}`, CXX: join(programs, "blind-compiler") };
    const without = setUpIn(poor);
    assert.equal(without.status, 0, without.stderr);
    assert.match(without.stderr, /going on without libjpeg-turbo/u);
    const asked = readFileSync(join(folder, "asked"), "utf8");
    assert.match(asked, /update/u);
    assert.deepEqual(imagesAddonOf(folder), { recorded: null, found: null });
    const again = setUpIn(poor);
    assert.equal(again.status, 0, again.stderr);
    assert.match(again.stderr, /To mend it: .*apt-get install .*libjpeg-dev/u);
    assert.equal(readFileSync(join(folder, "asked"), "utf8"), asked, "apt-get was asked a second time");

    const record = JSON.parse(readFileSync(join(root, "build", "images", "current.json"), "utf8")) as { libjpeg: string | null };
    const withIt = setUp();
    assert.equal(withIt.status, 0, withIt.stderr);
    assert.deepEqual(imagesAddonOf(folder), { recorded: record.libjpeg, found: record.libjpeg });
    assert.match(setUp().stderr, /^set-up: everything is in place: [^\n]*\n$/u);
  },
);

/** The libjpeg-turbo of the addon in use, by its record and by its own word. */
function imagesAddonOf(home: string): { recorded: string | null; found: string | null } {
  const images = join(home, "build", "images");
  const { addon, libjpeg } = JSON.parse(readFileSync(join(images, "current.json"), "utf8")) as { addon: string; libjpeg: string | null };
  const { jpeg } = createRequire(import.meta.url)(join(images, addon)) as { jpeg: () => string | null };
  return { recorded: libjpeg, found: jpeg() };
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/mu.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
