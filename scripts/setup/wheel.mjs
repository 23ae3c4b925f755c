/**
 * A PyTorch wheel in a virtual environment of our own, `build/venv`: libtorch for machines with an NVIDIA GPU, and for distributions
 * without a package of it. Python only unpacks it; nothing of laclip runs in Python.
 */
import { renameSync, rmSync } from "node:fs";
import path from "node:path";
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
  const index = gpu ? [] : ["--extra-index-url", cpuIndex];
  await runLogged(
    [path.join(venv, "bin", "python"), "-m", "pip", "install", "--disable-pip-version-check", "--retries", "2", ...index, "torch"],
    {
      log: path.join(build, "pip.log"),
      what: "installing a PyTorch wheel",
      env,
      verbose,
      mend: "Install torch in a Python of yours and name its folder in LACLIP_LIBTORCH, or mend what the lines above say.",
    },
  );
  rmSync(finished, { recursive: true, force: true });
  renameSync(venv, finished);
}
