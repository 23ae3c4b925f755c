/**
 * The addon for images: C++ in `native/images/`, without libtorch, and with libjpeg-turbo where there is one.
 *
 * Like the tensor addon it has a folder for each combination of what it was built from: `build/images/<key>/`, and
 * `build/images/current.json` names the one to load. Images can be read without it, only slower; so a library that is missing is told and
 * is no failure.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { checkLoads, hash, putInPlace, readRecord, removeOld, takeWorkFolder, writeRecord } from "./addon-folder.mjs";
import { findLibjpeg } from "./find-libjpeg.mjs";
import { runLogged } from "./programs.mjs";
import { say } from "./report.mjs";

/** Name of the addon's file. */
const addonName = "laclip_images.node";

/**
 * What `build/images/current.json` holds; the loader reads it.
 * @typedef {object} CurrentImagesAddon
 * @property {string} addon path of the addon, relative to the folder of current.json
 * @property {string | null} libjpeg version of the libjpeg-turbo that it was built with
 * @property {string} builtAt ISO 8601
 */

/** @type {import("./report.mjs").Step} */
export const imagesAddonStep = {
  name: "addon for images",
  async missing({ root, build, env }) {
    const folder = path.join(build, "images");
    const libjpeg = findLibjpeg(env);
    const key = keyOf(root, libjpeg);
    if (!existsSync(path.join(folder, key, addonName))) return `there is none for ${named(libjpeg)} and these sources`;
    return readRecord(folder)?.addon === path.join(key, addonName) ? undefined : "another one is in use";
  },
  async supply({ root, build, env, verbose }, why) {
    const folder = path.join(build, "images");
    const libjpeg = findLibjpeg(env);
    const key = keyOf(root, libjpeg);
    if (!existsSync(path.join(folder, key, addonName))) {
      say(`building the addon for images with ${named(libjpeg)}, since ${why}`);
      const { include_dir: nodeHeaders } = createRequire(path.join(root, "package.json"))("node-api-headers");
      const work = takeWorkFolder(folder, hash([libjpeg ?? "", env.CXX ?? ""]));
      const settings = [
        "-DCMAKE_BUILD_TYPE=Release",
        `-DLACLIP_NODE_INCLUDE=${nodeHeaders}`,
        `-DLACLIP_WITH_JPEG=${libjpeg === undefined ? "OFF" : "ON"}`,
      ];
      await runLogged(["cmake", "-S", path.join(root, "native", "images"), "-B", work.path, ...settings], {
        log: path.join(folder, "configure.log"),
        what: "configuring the addon for images",
        env,
        verbose,
      });
      await runLogged(["cmake", "--build", work.path, "--parallel", String(os.availableParallelism())], {
        log: path.join(folder, "build.log"),
        what: "building the addon for images",
        env,
        verbose,
      }).finally(work.finish);
      checkLoads(path.join(work.path, addonName), env);
      putInPlace(path.join(work.path, addonName), path.join(folder, key));
    }
    /** @type {CurrentImagesAddon} */
    const current = {
      addon: path.join(key, addonName),
      libjpeg: libjpeg ?? null,
      builtAt: statSync(path.join(folder, key, addonName)).mtime.toISOString(),
    };
    writeRecord(folder, current);
    removeOld(folder, key);
  },
};

/** @param {string | undefined} libjpeg */
function named(libjpeg) {
  return libjpeg === undefined ? "no libjpeg-turbo" : `libjpeg-turbo ${libjpeg}`;
}

/**
 * What an addon depends on: its sources, the library, and the machine's kind.
 * @param {string} root
 * @param {string | undefined} libjpeg
 */
function keyOf(root, libjpeg) {
  const native = path.join(root, "native", "images");
  const names = readdirSync(path.join(native, "src")).sort();
  const sources = ["CMakeLists.txt", ...names.map((name) => path.join("src", name))];
  return hash([
    process.arch,
    process.versions.node.split(".")[0] ?? "",
    libjpeg ?? "",
    ...sources.flatMap((name) => [name, readFileSync(path.join(native, name), "utf8")]),
  ]);
}
