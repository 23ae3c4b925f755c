/**
 * A PyTorch wheel in a virtual environment of our own, `build/venv`: libtorch for machines with an NVIDIA GPU, and for distributions
 * without a package of it. Python only unpacks it; nothing of laclip runs in Python.
 */
import { renameSync, rmSync } from "node:fs";
import path from "node:path";
import { readPackage, torchOfPython } from "./find-libtorch.mjs";
import { runLogged } from "./programs.mjs";
import { say } from "./report.mjs";

/** PyTorch's own index of builds without CUDA, a tenth of the size of those with it. */
const cpuIndex = "https://download.pytorch.org/whl/cpu";

/** Where our own virtual environment lies. @param {string} build */
export function ownVenv(build) {
  return path.join(build, "venv");
}

/**
 * Makes the environment anew and installs torch. Indexes and mirrors of the person's pip settings are used as well; a build without CUDA is
 * preferred by its version (2.13.0+cpu is newer than 2.13.0 to pip).
 * @param {import("./report.mjs").Context} context
 * @param {boolean} gpu
 */
export async function installWheel({ build, env, verbose }, gpu) {
  const finished = ownVenv(build);
  // Only a whole environment gets the name that is searched; one that is broken off stays aside and is thrown away next time.
  const venv = `${finished}.part`;
  say(`installing a PyTorch wheel ${gpu ? "with CUDA, for the NVIDIA GPU" : "without CUDA"} into ${finished} (a large download)`);
  rmSync(venv, { recursive: true, force: true });
  await runLogged(["python3", "-m", "venv", venv], {
    log: path.join(build, "venv.log"),
    what: "making a virtual environment",
    env,
    verbose,
  });
  const python = path.join(venv, "bin", "python");
  const install = (/** @type {string[]} */ ...options) =>
    runLogged([python, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "2", ...options, "torch"], {
      log: path.join(build, "pip.log"),
      what: "installing a PyTorch wheel",
      env,
      verbose,
      mend: "Install torch in a Python of yours and name its folder in LACLIP_LIBTORCH, or mend what the lines above say.",
    });
  // What torch depends on is Python code that is not used here, except for CUDA's libraries.
  if (!gpu) await install("--no-deps", "--extra-index-url", cpuIndex);
  if (gpu || needsCuda(python, env)) await install();
  rmSync(finished, { recursive: true, force: true });
  renameSync(venv, finished);
}

/**
 * True when pip, perhaps from a mirror without the builds for CPUs, has installed one with CUDA.
 * @param {string} python
 * @param {NodeJS.ProcessEnv} env
 */
function needsCuda(python, env) {
  const folder = torchOfPython(python, env);
  const libtorch = folder === null ? "torch is not there" : readPackage(folder, "own");
  return typeof libtorch !== "string" && libtorch.cuda !== null;
}
