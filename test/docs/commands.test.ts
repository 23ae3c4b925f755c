/** Every command in the documents is one that the program has, with flags, settings and scripts that are there. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Command } from "commander";
import { commands } from "../../src/cli/command-list.ts";
import { runLaclip } from "../integration/laclip.ts";
import { commandLines, prose, readersPages, root, simpleCommands, wordsOf } from "./pages.ts";

const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };

interface Help {
  flags: Set<string>;
  subcommands: Set<string>;
  /** Whether it takes arguments of its own beside its subcommands. */
  takesArguments: boolean;
}

/** Of every command, by its words: "evaluate zero-shot". */
const known = new Map<string, Help>();

function learn(built: Command, path: readonly string[]): void {
  const own = built.options.flatMap(({ long, negate }) =>
    long === undefined ? [] : negate ? [long, long.replace("--no-", "--")] : [long],
  );
  known.set(path.join(" "), {
    flags: new Set([...own, "--help"]),
    subcommands: new Set(built.commands.map((child) => child.name())),
    takesArguments: built.registeredArguments.length > 0,
  });
  for (const child of built.commands) learn(child, [...path, child.name()]);
}

known.set("", { flags: new Set(["--help", "--version"]), subcommands: new Set(commands.map(([name]) => name)), takesArguments: false });
for (const [name, , load] of commands) learn((await load())().name(name), [name]);

/** The flags of the set-up, which is no command of the program. */
function setupFlags(): Set<string> {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "scripts", "setup.mjs"), "--help"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return new Set([...stdout.matchAll(/^ +(?:-\w, )?(--[a-z][a-z-]*)/gm)].map(([, flag]) => flag!));
}

/** What is wrong with the arguments of `laclip`; undefined when nothing is. */
function wrongWith(given: readonly string[]): string | undefined {
  // What `laclip launch` starts is a command again.
  const dashes = given.indexOf("--");
  if (dashes >= 0) return wrongWith(given.slice(0, dashes)) ?? wrongWith(given.slice(dashes + 1));
  const args = given;
  const path: string[] = [];
  let help = known.get("")!;
  while (path.length < args.length && help.subcommands.size > 0 && !args[path.length]!.startsWith("-")) {
    const name = args[path.length]!;
    if (!help.subcommands.has(name) && help.takesArguments) break;
    if (!help.subcommands.has(name)) return `there is no command "${[...path, name].join(" ")}"`;
    path.push(name);
    help = known.get(path.join(" "))!;
  }
  const flag = args.map((word) => /^--[^=]+/.exec(word)?.[0]).find((word) => word !== undefined && !help.flags.has(word));
  return flag === undefined ? undefined : `laclip ${path.join(" ")} has no flag ${flag}`;
}

/** What is wrong with a command line's command; undefined also for programs that are not ours. */
function wrong(command: string): string | undefined {
  const [first, second, ...rest] = wordsOf(command);
  // Job files call the program by its file, since npx keeps signals and exit codes to itself.
  if ((first === "npx" && second === "laclip") || (first === "node" && second === "dist/src/cli/main.js")) return wrongWith(rest);
  if (first === "laclip") return wrongWith([second, ...rest].filter((word) => word !== undefined));
  if (first === "npm" && second === "run") {
    const [script = "", dashes, ...args] = rest;
    if (!Object.hasOwn(scripts, script)) return `package.json has no script "${script}"`;
    if (script === "demo" && dashes === "--") return wrongWith(["demo", ...args]);
    if (script !== "setup" || dashes !== "--") return undefined;
    const flags = setupFlags();
    return args.filter((word) => word.startsWith("--") && !flags.has(word)).map((word) => `the set-up has no flag ${word}`)[0];
  }
  const file = first === "node" ? wordsOf(command).find((word) => /\.m?js$/.test(word)) : undefined;
  return file === undefined || existsSync(join(root, file)) ? undefined : `there is no ${file}`;
}

test("every command in a block exists, with every flag it is given", () => {
  const faults: string[] = [];
  let checked = 0;
  for (const { path, text } of readersPages()) {
    for (const command of commandLines(text).flatMap(simpleCommands)) {
      // NAME=value before a command is its environment.
      const fault = wrong(command.replace(/^(?:[A-Z_]+=\S+\s+)+/, "").replace(/^srun /, ""));
      if (fault !== undefined) faults.push(`${path}: ${command}: ${fault}`);
      checked++;
    }
  }
  assert.deepEqual(faults, []);
  assert.ok(checked > 20, `only ${checked} commands were found`);
});

test("every command that a sentence or a table names exists, with every flag it is given", () => {
  const faults: string[] = [];
  for (const { path, text } of readersPages()) {
    for (const [, code] of prose(text).matchAll(/`((?:npx )?laclip [a-z][^`]*|npm run [^`]*|node [^`]*)`/g)) {
      const fault = wrong(code!);
      if (fault !== undefined) faults.push(`${path}: ${code}: ${fault}`);
    }
  }
  assert.deepEqual(faults, []);
});

test("every flag that stands alone in a sentence is one of the program's or the set-up's", () => {
  const flags = new Set(["--keep"]); // scripts/demo-table.mjs
  for (const help of known.values()) help.flags.forEach((flag) => flags.add(flag));
  setupFlags().forEach((flag) => flags.add(flag));
  const unknown = readersPages().flatMap(({ path, text }) =>
    [...prose(text).matchAll(/`(--[a-z][a-z-]*)[^`]*`/g)].filter(([, flag]) => !flags.has(flag!)).map(([, flag]) => `${path}: ${flag}`),
  );
  assert.deepEqual(unknown, []);
});

test("every recipe and setting in a block is accepted", async () => {
  const faults: string[] = [];
  const seen = new Set<string>();
  for (const { path, text } of readersPages()) {
    for (const command of commandLines(text).flatMap(simpleCommands)) {
      const words = wordsOf(command.replace(/^npx /, ""));
      if (words[0] !== "laclip" || words[1] !== "train" || words[2]!.endsWith(".json")) continue;
      // Many commands differ in their files only.
      const what = words.filter((word, i) => i === 2 || words[i - 1] === "--set" || word === "--smoke").join(" ");
      if (seen.has(what)) continue;
      seen.add(what);
      const { code, stderr } = await runLaclip([...words.slice(1), "--print-recipe"]);
      if (code !== 0) faults.push(`${path}: ${command}: ${stderr}`);
    }
  }
  assert.deepEqual(faults, []);
});

test("what a command is for stands in the list of commands alone, and heads its help", async () => {
  for (const [name, , load] of commands) assert.equal((await load())().description(), "", name);
  const [name, description] = commands.find(([name]) => name === "tokenize")!;
  const { stdout } = await runLaclip([name, "--help"]);
  assert.match(stdout, new RegExp(`^Usage: laclip ${name} .*\n\n${description}\n`));
});
