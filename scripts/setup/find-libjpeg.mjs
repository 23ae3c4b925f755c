/**
 * libjpeg-turbo, asked of the compiler: what it finds is what the addon for images will be built with.
 */
import { ask, which } from "./programs.mjs";

/** The distribution's package with the headers. */
export const libjpegPackage = "libjpeg-dev";

/**
 * The version of the libjpeg-turbo whose headers the compiler finds; undefined without compiler or headers, and for another libjpeg.
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | undefined}
 */
export function findLibjpeg(env) {
  const compiler = which(env.CXX ? [env.CXX] : ["c++", "g++", "clang++"], env);
  if (compiler === undefined) return undefined;
  const macros = ask([compiler, "-x", "c++", "-E", "-dM", "-include", "cstdio", "-include", "jpeglib.h", "/dev/null"], { env });
  return /#define LIBJPEG_TURBO_VERSION (\S+)/.exec(macros ?? "")?.[1];
}
