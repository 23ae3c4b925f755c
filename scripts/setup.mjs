#!/usr/bin/env node
/**
 * Set-up: makes a clone ready to run. `npm run demo` and `npm test` call it first; `npm run setup` calls it alone.
 *
 * It runs before `node_modules` exists, so it uses Node's own modules only. Each step says whether something is missing and can supply
 * it; a step with nothing to do costs milliseconds, and the whole of a second call is well under two seconds. Everything it makes lies
 * under `node_modules/`, `build/` and `dist/`; only distribution packages go anywhere else, and only when the system has none.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { addonStep } from "./setup/build-addon.mjs";
import { imagesAddonStep } from "./setup/build-images-addon.mjs";
import { withLock } from "./setup/lock.mjs";
import { npmPackagesStep } from "./setup/npm-packages.mjs";
import { say, SetupError, tell } from "./setup/report.mjs";
import { systemStep } from "./setup/system-packages.mjs";
import { typescriptStep } from "./setup/compile-typescript.mjs";

const usage = `Usage: npm run setup [-- options]

Installs or builds what is missing: npm packages, libtorch, libjpeg-turbo, a compiler, the addons, the compiled TypeScript.

  --check     say what is missing, change nothing; exit code 1 when something is
  --wheel     use a PyTorch wheel in build/venv even where the system has a libtorch
  --verbose   show the output of npm, apt-get, pip, cmake and tsc
  --help      this text

Environment:
  LACLIP_LIBTORCH   folder of a libtorch, or of a Python package torch, to use before any other`;

async function main() {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  checkNode(process.versions.node);

  const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
  /** @type {import("./setup/report.mjs").Context} */
  const context = { root, build: path.join(root, "build"), verbose: options.verbose, wheel: options.wheel, env: process.env };
  const steps = [systemStep, npmPackagesStep, addonStep, imagesAddonStep, typescriptStep];

  if (options.check) return check(steps, context);
  await withLock(path.join(context.build, "setup.lock"), async () => {
    for (const step of steps) {
      const why = await step.missing(context);
      if (why !== undefined) await step.supply(context, why);
    }
  });
  say(`everything is in place: libtorch ${context.libtorch?.version} (${context.libtorch?.libFolder})`);
  return 0;
}

/**
 * @param {readonly import("./setup/report.mjs").Step[]} steps
 * @param {import("./setup/report.mjs").Context} context
 */
async function check(steps, context) {
  let missing = 0;
  for (const step of steps) {
    const why = await step.missing(context);
    if (why === undefined) continue;
    missing += 1;
    say(`missing: ${step.name}: ${why}`);
  }
  say(missing === 0 ? "nothing is missing" : "run `npm run setup` to supply what is missing");
  return missing === 0 ? 0 : 1;
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        check: { type: "boolean", default: false },
        wheel: { type: "boolean", default: false },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    throw new SetupError(/** @type {Error} */ (error).message, "See `npm run setup -- --help`.");
  }
}

/** @param {string} version */
function checkNode(version) {
  const { engines } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const [oldest = ""] = /[\d.]+/.exec(engines.node) ?? [];
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = oldest.split(".").map(Number);
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new SetupError(
    `this is Node ${version}, but laclip needs ${oldest} or newer`,
    "Install a current Node: https://nodejs.org/en/download",
  );
}

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = tell(error);
}
