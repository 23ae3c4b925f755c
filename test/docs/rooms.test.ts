/** The map of rooms in ARCHITECTURE.md is the one that the compiler enforces. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { root } from "./pages.ts";

/** Rooms of the page with the rooms they may use: rows `| `room` | what | a, b |` between the marks. */
function mapOfPage(): Map<string, string[]> {
  const page = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
  const [, section] = /<!-- rooms -->([\s\S]*?)<!-- \/rooms -->/.exec(page) ?? [];
  assert.ok(section, "ARCHITECTURE.md has no map of rooms");
  const rows = section.matchAll(/^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$/gm);
  return new Map(Array.from(rows, ([, room, used]) => [room!, used === "nothing" ? [] : used!.trim().split(", ").sort()]));
}

function mapOfCompiler(): Map<string, string[]> {
  const rooms = readdirSync(join(root, "src")).filter((name) => existsSync(join(root, "src", name, "tsconfig.json")));
  return new Map(
    rooms.map((room) => {
      const { references } = JSON.parse(readFileSync(join(root, "src", room, "tsconfig.json"), "utf8")) as {
        references: { path: string }[];
      };
      return [room, references.map(({ path }) => basename(path)).sort()];
    }),
  );
}

test("ARCHITECTURE.md lists every room with exactly the rooms that its tsconfig refers to", () => {
  assert.deepEqual(Object.fromEntries(mapOfPage()), Object.fromEntries(mapOfCompiler()));
});

test("rooms are listed bottom up: each uses only rooms above it in the table", () => {
  const seen = new Set<string>();
  for (const [room, used] of mapOfPage()) {
    for (const other of used) assert.ok(seen.has(other), `${room} uses ${other}, which is listed after it`);
    seen.add(room);
  }
});

/** What each room's files, its tests included, import from other rooms, as `[file, room, file of that room]`. */
function importsOf(room: string, rooms: readonly string[]): [string, string, string][] {
  const files = readdirSync(join(root, "src", room), { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  return files.flatMap((name) => {
    const imports = readFileSync(join(root, "src", room, name), "utf8").matchAll(/(?:from|import\() ?"(?:\.\.\/)+(\w+)\/([^"]+)"/g);
    return Array.from(imports, ([, other, file]): [string, string, string] => [name, other!, file!]).filter(
      ([, other]) => rooms.includes(other) && other !== room,
    );
  });
}

test("rooms import each other only through their index.ts", () => {
  const rooms = [...mapOfCompiler().keys()];
  const around = rooms.flatMap((room) =>
    importsOf(room, rooms).flatMap(([name, other, file]) => (file === "index.ts" ? [] : [`${room}/${name}: ${other}/${file}`])),
  );
  assert.deepEqual(around, []);
});

test("a room may use only what one of its files does use", () => {
  const map = mapOfCompiler();
  const unused = Array.from(map, ([room, allowed]) => {
    const used = new Set(importsOf(room, [...map.keys()]).map(([, other]) => other));
    return allowed.filter((other) => !used.has(other)).map((other) => `${room} -> ${other}`);
  });
  assert.deepEqual(unused.flat(), []);
});

test("the rooms that the page says load without libtorch do not reach torch", () => {
  const map = mapOfCompiler();
  const reach = (room: string): string[] => [room, ...map.get(room)!.flatMap(reach)];
  for (const room of ["support", "formats", "pages", "text", "images", "data", "rewriting", "curation"]) {
    assert.ok(!reach(room).includes("torch"), `${room} reaches torch: ${reach(room).join(", ")}`);
  }
});
