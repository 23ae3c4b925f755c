/**
 * Prints the folders of npm packages and of all that they need in turn, optional ones left out.
 *
 *   node bench/gpu/packages-of.mjs node-llama-cpp undici
 */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

/** @type {Set<string>} */
const found = new Set();

/** @param {string} name @param {string} from */
function add(name, from) {
  for (let at = from; ; at = path.dirname(at)) {
    const folder = path.join(at, "node_modules", name);
    if (existsSync(path.join(folder, "package.json"))) {
      if (found.has(folder)) return;
      found.add(folder);
      const { dependencies = {} } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
      for (const needed of Object.keys(dependencies)) add(needed, folder);
      return;
    }
    if (at === path.dirname(at)) throw new Error(`${name} is not installed (needed by ${from})`);
  }
}

for (const name of process.argv.slice(2)) add(name, process.cwd());
process.stdout.write([...found].map((folder) => `${path.relative(process.cwd(), folder)}\n`).join(""));
