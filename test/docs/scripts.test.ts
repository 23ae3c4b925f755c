/** Scripts are no part of the compiled program, so that no compiler sees a name which they take from it and which has moved. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { root } from "./pages.ts";

test("every name that a script takes from the program is there", async () => {
  const folder = join(root, "scripts");
  let names = 0;
  for (const script of readdirSync(folder).filter((name) => name.endsWith(".mjs"))) {
    const text = readFileSync(join(folder, script), "utf8");
    for (const [, list, path] of text.matchAll(/import \{([^}]*)\} from "(\.\.\/dist\/[^"]+)"/g)) {
      const module = (await import(pathToFileURL(join(folder, path!)).href)) as object;
      for (const name of list!.split(",").map((one) => one.trim().split(" as ")[0]!)) {
        if (name === "") continue;
        names++;
        assert.ok(name in module, `scripts/${script}: ${path!} has no ${name}`);
      }
    }
  }
  assert.ok(names > 10, "the imports are found");
});
