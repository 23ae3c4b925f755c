/** Builds the addon against the libtorch in LACLIP_LIBTORCH (else the one that the set-up would find), and nothing else: no npm, no compiler of TypeScript. */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { addonStep } from "../../scripts/setup/build-addon.mjs";
import { findLibtorch } from "../../scripts/setup/find-libtorch.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const build = path.join(root, "build");
const env = process.env;
const { libtorch } = findLibtorch({ env, ownVenv: path.join(build, "venv") });
if (libtorch === undefined) throw new Error("there is no libtorch to build against: name one in LACLIP_LIBTORCH");
const context = { root, build, env, verbose: false, libtorch };
const why = await addonStep.missing(context);
if (why !== undefined) await addonStep.supply(context, why);
