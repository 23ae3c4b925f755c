/** Every link between the documents leads somewhere: the file is there, and so is the heading. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { pages, prose, root } from "./pages.ts";

/** The anchors of a page, as GitHub makes them from its headings. */
function anchors(text: string): Set<string> {
  const found = new Set<string>();
  for (const [, heading] of prose(text).matchAll(/^#+ (.+)$/gm)) {
    const anchor = heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replace(/\s/g, "-");
    let unique = anchor;
    for (let i = 1; found.has(unique); i++) unique = `${anchor}-${i}`;
    found.add(unique);
  }
  return found;
}

test("every relative link of every page leads to a file, and to a heading in it where it names one", () => {
  const broken: string[] = [];
  let links = 0;
  for (const { path, text } of pages()) {
    for (const [, target] of prose(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      links++;
      const [file = "", anchor] = target!.split("#");
      const place = file === "" ? join(root, path) : join(root, dirname(path), file);
      if (!existsSync(place)) broken.push(`${path}: ${target} (no such file)`);
      else if (anchor !== undefined && (!statSync(place).isFile() || !anchors(readFileSync(place, "utf8")).has(anchor)))
        broken.push(`${path}: ${target} (no such heading)`);
    }
  }
  assert.deepEqual(broken, []);
  assert.ok(links > 20, `only ${links} links were found`);
});
