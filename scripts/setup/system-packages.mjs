/**
 * What the addons need of the system: a compiler, CMake, a libtorch with a fast BLAS, and libjpeg-turbo.
 *
 * A libtorch that is there is used as it is. Where there is none, the distribution's package comes first, since it is small and shared;
 * a PyTorch wheel is installed where an NVIDIA GPU wants CUDA, or where the distribution has no package that is new enough.
 */
import { existsSync, mkdirSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import path from "node:path";
import { atLeast, findLibtorch, oldestVersion } from "./find-libtorch.mjs";
import { findLibjpeg, libjpegPackage } from "./find-libjpeg.mjs";
import { ask, runLogged, which } from "./programs.mjs";
import { say, SetupError } from "./report.mjs";
import { installWheel, ownVenv } from "./wheel.mjs";

/** The distribution's packages that a libtorch of its own comes with. Debian's libtorch alone runs on the reference BLAS, 10 to 30 times slower. */
const libtorchPackages = ["libtorch-dev", "libopenblas0-openmp", "libgloo-dev"];

const wheelAdvice = "\nOr, without root rights, install a PyTorch wheel into build/venv (a large download):\n  npm run setup -- --wheel";

/** Images are read without it too, so this alone never stops the set-up. */
const noLibjpeg = "the headers of libjpeg-turbo are missing, without which JPEGs are read slower";

/** @type {import("./report.mjs").Step} */
export const systemStep = {
  name: "compiler and libraries",
  async missing(context) {
    const { env, wheel, build } = context;
    const { libtorch, refused } = findLibtorch({ env, ownVenv: ownVenv(build), wheel });
    if (libtorch !== undefined) context.libtorch = libtorch;
    const reasons = [
      ...missingTools(env).map(({ name }) => `${name} is not installed`),
      ...(libtorch === undefined ? [["no libtorch was found", ...refused.map((line) => `passed over ${line}`)].join("; ")] : []),
      ...(libtorch !== undefined && usesReferenceBlas(libtorch)
        ? ["libtorch runs on the reference BLAS, which is 10 to 30 times slower than OpenBLAS"]
        : []),
      ...(findLibjpeg(env) === undefined ? [noLibjpeg] : []),
    ];
    return reasons.length === 0 ? undefined : reasons.join("; ");
  },
  async supply(context, why) {
    const { env, build, wheel, libtorch } = context;
    const tools = missingTools(env);
    const venv = which(["python3"], env) !== undefined && ask(["python3", "-c", "import ensurepip, venv"], { env, cwd: "/" }) !== undefined;
    const { packages, way } = planPackages({
      tools,
      libtorch: libtorch === undefined ? "none" : usesReferenceBlas(libtorch) ? "slow" : "there",
      wheelAsked: wheel,
      gpu: hasNvidiaGpu(env),
      candidate: packageVersion(env),
      venv,
      libjpeg: findLibjpeg(env) !== undefined,
    });
    if (why === noLibjpeg && packages.length > 0) {
      await installLibjpeg(context);
      return;
    }
    if (!canInstall(env) && packages.every((name) => name === libjpegPackage)) {
      // A wheel can still come without root rights.
      if (packages.length > 0) say(`${noLibjpeg}. To mend it: ${installCommand(packages)}`);
    } else if (packages.length > 0) {
      if (libtorch !== undefined && tools.length === 0 && !canInstall(env)) {
        say(`${why}. To mend it: ${installCommand(packages)}`);
        return;
      }
      const wheelWouldDo = way === "package" && tools.length === 0 && venv;
      await installPackages(packages, why, wheelWouldDo, context);
    }
    if (way === "wheel") await installWheel(context, hasNvidiaGpu(env));
    const again = await systemStep.missing(context);
    if (again !== undefined && again !== noLibjpeg) {
      throw new SetupError(
        `after installing ${[...packages, ...(way === "wheel" ? ["a PyTorch wheel"] : [])].join(" ") || "nothing"}, still: ${again}`,
        `The logs are in ${build}. Set LACLIP_LIBTORCH to the folder of a libtorch ${oldestVersion.join(".")} or newer to use that.`,
      );
    }
  },
};

/**
 * What has to be installed, and from where.
 *
 * @param {object} facts
 * @param {readonly { name: string, packageName: string }[]} facts.tools build tools that are missing
 * @param {"none" | "slow" | "there"} facts.libtorch `slow`: there, but on the reference BLAS
 * @param {boolean} facts.wheelAsked
 * @param {boolean} facts.gpu an NVIDIA GPU answers
 * @param {string | undefined} facts.candidate version of the distribution's libtorch-dev; undefined when it has none
 * @param {boolean} facts.venv whether Python can make virtual environments
 * @param {boolean} facts.libjpeg whether the headers of libjpeg-turbo are there
 * @returns {{ packages: string[], way: "package" | "wheel" | "nothing" }} the distribution's packages, and how libtorch itself comes
 */
export function planPackages({ tools, libtorch, wheelAsked, gpu, candidate, venv, libjpeg }) {
  const packages = [...tools.map(({ packageName }) => packageName), ...(libjpeg ? [] : [libjpegPackage])];
  if (libtorch === "there") return { packages, way: "nothing" };
  if (libtorch === "slow") return { packages: [...packages, "libopenblas0-openmp"], way: "nothing" };
  const newEnough = candidate !== undefined && atLeast(candidate.replace(/^\d+:/, ""), oldestVersion);
  if (wheelAsked || gpu || !newEnough) return { packages: [...packages, ...(venv ? [] : ["python3-venv"])], way: "wheel" };
  return { packages: [...packages, ...libtorchPackages], way: "package" };
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {{ name: string, packageName: string }[]}
 */
function missingTools(env) {
  const tools = [
    { name: "a C++ compiler", packageName: "g++", programs: env.CXX ? [env.CXX] : ["c++", "g++", "clang++"] },
    { name: "CMake", packageName: "cmake", programs: ["cmake"] },
    { name: "make", packageName: "make", programs: ["make"] },
  ];
  return tools.filter(({ programs }) => which(programs, env) === undefined);
}

/**
 * True when a system libtorch is bound to the BLAS of Netlib, which distributions install when nothing better is asked for.
 * @param {import("./find-libtorch.mjs").Libtorch} libtorch
 */
function usesReferenceBlas(libtorch) {
  if (libtorch.kind !== "system") return false;
  const linked = ask(["ldd", path.join(libtorch.libFolder, "libtorch_cpu.so")]) ?? "";
  const blas = /libblas\.so\.3 => (\S+)/.exec(linked)?.[1];
  if (blas === undefined) return false;
  // Every other BLAS either lies in a folder of its name or stands behind a thin libblas that links it.
  return !/openblas|blis|mkl|atlas/.test(`${realpathSync(blas)} ${ask(["ldd", blas])}`);
}

/** @param {NodeJS.ProcessEnv} env */
export function hasNvidiaGpu(env) {
  return which(["nvidia-smi"], env) !== undefined && (ask(["nvidia-smi", "-L"], { env }) ?? "").startsWith("GPU ");
}

/**
 * The version of libtorch-dev that the distribution offers. Fresh containers have no package lists yet; they are fetched for the question
 * where that is allowed.
 * @param {NodeJS.ProcessEnv} env
 */
function packageVersion(env) {
  if (which(["apt-get"], env) === undefined) return undefined;
  if (!hasPackageLists() && canInstall(env)) ask([...asRoot(), "apt-get", "update"], { env, timeout: 300_000 });
  // Without lists and without the right to fetch them, the advice is the package that Debian and Ubuntu have.
  if (!hasPackageLists()) return oldestVersion.join(".");
  const candidate = /Candidate: (\S+)/.exec(ask(["apt-cache", "policy", "libtorch-dev"], { env }) ?? "")?.[1];
  return candidate === "(none)" ? undefined : candidate;
}

function hasPackageLists() {
  const lists = "/var/lib/apt/lists";
  return existsSync(lists) && readdirSync(lists).some((name) => /_Packages(\.|$)/.test(name));
}

/** True as root, or where sudo asks for no password. @param {NodeJS.ProcessEnv} env */
function canInstall(env) {
  return (
    which(["apt-get"], env) !== undefined &&
    (process.getuid?.() === 0 || (which(["sudo"], env) !== undefined && ask(["sudo", "-n", "true"], { env }) !== undefined))
  );
}

/**
 * What stands before a command that needs root.
 * @returns {[string, ...string[]]}
 */
function asRoot() {
  return process.getuid?.() === 0 ? ["env"] : ["sudo", "-n", "env"];
}

/** @param {readonly string[]} packages */
function installCommand(packages) {
  return `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages.join(" ")}`;
}

/**
 * Installs libjpeg-turbo alone, or says what that would take. It is tried once: a machine without a network would else wait at each set-up.
 * @param {import("./report.mjs").Context} context
 */
async function installLibjpeg(context) {
  const tried = path.join(context.build, "libjpeg-tried");
  if (!canInstall(context.env) || existsSync(tried)) {
    say(`${noLibjpeg}. To mend it: ${installCommand([libjpegPackage])}`);
    return;
  }
  mkdirSync(context.build, { recursive: true });
  writeFileSync(tried, "");
  try {
    await installPackages([libjpegPackage], noLibjpeg, false, context);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`going on without libjpeg-turbo: ${error.message}`);
  }
}

/**
 * @param {readonly string[]} packages
 * @param {string} why
 * @param {boolean} wheelWouldDo whether there is a way without root rights
 * @param {import("./report.mjs").Context} context
 */
async function installPackages(packages, why, wheelWouldDo, { env, build, verbose }) {
  if (!canInstall(env)) {
    const apt = which(["apt-get"], env) !== undefined;
    throw new SetupError(
      `${why}; installing takes ${apt ? "root rights" : "a package manager that set-up does not know"}`,
      apt
        ? `Run this, then the same command again:\n  ${installCommand(packages)}${wheelWouldDo ? wheelAdvice : ""}`
        : `Install what corresponds to Debian's ${packages.join(", ")}, then run the same command again.`,
    );
  }
  say(`installing ${packages.join(", ")} with apt-get, since ${why}`);
  const quiet = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"];
  const mend = `Run it by hand to see more:\n  ${installCommand(packages)}`;
  await runLogged([...asRoot(), ...quiet, "update"], {
    log: path.join(build, "apt-update.log"),
    what: "fetching the package lists",
    env,
    verbose,
    mend,
  });
  await runLogged([...asRoot(), ...quiet, "install", "-y", "--no-install-recommends", ...packages], {
    log: path.join(build, "apt-install.log"),
    what: `installing ${packages.join(" ")}`,
    env,
    verbose,
    mend,
  });
}
