/**
 * Builds the addon against the libtorch in LACLIP_LIBTORCH (else the one that the set-up would find), and nothing else: no npm, no compiler of
 * TypeScript. The addon for images was carried here; where it does not load, it is built anew if libjpeg's headers are there.
 */
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { addonStep } from "../../scripts/setup/build-addon.mjs";
import { imagesAddonStep } from "../../scripts/setup/build-images-addon.mjs";
import { findLibjpeg } from "../../scripts/setup/find-libjpeg.mjs";
import { findLibtorch } from "../../scripts/setup/find-libtorch.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const build = path.join(root, "build");
const env = process.env;
const { libtorch } = findLibtorch({ env, ownVenv: path.join(build, "venv") });
if (libtorch === undefined) throw new Error("there is no libtorch to build against: name one in LACLIP_LIBTORCH");
const context = { root, build, env, verbose: false, libtorch };
const why = await addonStep.missing(context);
if (why !== undefined) {
  await addonStep.supply(context, why).catch(async (/** @type {Error} */ error) => {
    if (libtorch.cuda === null) throw error;
    // Of all headers those of NCCL change most from one PyTorch to the next, and one GPU does without.
    process.stderr.write(`${error.message}\nonce more without NCCL\n`);
    await addonStep.supply({ ...context, libtorch: { ...libtorch, withoutNccl: true } }, why);
  });
}

const asked = 'import("./dist/src/images/index.js").then(({ imageEngine }) => console.log(imageEngine().libjpeg ?? ""))';
const decoder = () => spawnSync(process.execPath, ["-e", asked], { cwd: root, encoding: "utf8" }).stdout.trim();
if (decoder() === "" && findLibjpeg(env) !== undefined)
  await imagesAddonStep.supply(context, "the one that was carried here does not load");
process.stderr.write(`JPEGs are decoded by ${decoder() === "" ? "sharp" : `libjpeg-turbo ${decoder()}`}\n`);
