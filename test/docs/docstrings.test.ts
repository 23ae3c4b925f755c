/** An editor that points at a public symbol shows a sentence: each export of a room, and each method of a tensor, has one. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { root } from "./pages.ts";

const built = join(root, "dist", "src");

/** The declarations that the compiler wrote for a file of `src/`. */
const declarations = (file: string): string => readFileSync(file.replace(/\.ts$/, ".d.ts"), "utf8");

/** What a file declares and exports, by name, with whether a comment stands right before it that is not the head of the file. */
function declared(file: string): Map<string, boolean> {
  const text = declarations(file);
  const head = /^\/\*\*[\s\S]*?\*\/\n(?=import |export (?:\*|\{))/.exec(text)?.[0].length ?? 0;
  const found = text.matchAll(/^export (?:declare )?(?:abstract )?(?:class|interface|type|function\*?|const|let|enum) ([\w$]+)/gm);
  return new Map(Array.from(found, ({ index, 1: name }) => [name!, index > head && text.slice(0, index).endsWith("*/\n")]));
}

/** What an index.ts exports without a comment, as `file: name`. */
function silent(index: string): string[] {
  const text = declarations(index);
  const missing: string[] = [];
  for (const [, names, from] of text.matchAll(/^export (?:type )?(\*|\{[^}]*\}) from "(\.[^"]+)";$/gm)) {
    const file = join(dirname(index), from!);
    const documented = declared(file);
    const wanted =
      names === "*"
        ? [...documented.keys()]
        : names!
            .slice(1, -1)
            .split(",")
            .map((name) =>
              name
                .trim()
                .replace(/^type /, "")
                .replace(/ as .*/, ""),
            )
            .filter(Boolean);
    for (const name of wanted) if (documented.get(name) !== true) missing.push(`${file.slice(built.length + 1)}: ${name}`);
  }
  return missing;
}

test("every public export of a room has a sentence", () => {
  const rooms = readdirSync(built).filter((room) => existsSync(join(built, room, "index.d.ts")));
  assert.ok(rooms.includes("torch") && rooms.includes("rewriting"));
  assert.deepEqual(
    rooms.flatMap((room) => silent(join(built, room, "index.ts"))),
    [],
  );
});

test("every public method of a tensor and a group has a sentence", () => {
  for (const [file, name] of [
    ["torch/tensor.ts", "Tensor"],
    ["distributed/process-group.ts", "ProcessGroup"],
  ] as const) {
    const [, body = ""] =
      new RegExp(`^export declare class ${name}\\b.*\\{\\n([\\s\\S]*?)\\n\\}`, "m").exec(declarations(join(built, file))) ?? [];
    const lines = body.split("\n");
    const members = lines.flatMap((line, i) => (/^ {4}(?!private |set |readonly |#)(?:static |get )?[\w$]+[(<]/.test(line) ? [i] : []));
    assert.ok(members.length > 10, `${name} has ${members.length} methods`);
    assert.deepEqual(
      members.filter((i) => !lines[i - 1]!.endsWith("*/")).map((i) => lines[i]!.trim()),
      [],
    );
  }
});
