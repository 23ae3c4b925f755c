import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../main.js", import.meta.url));

function start(
  ...flags: string[]
): ReturnType<typeof spawn> & { stdin: NodeJS.WritableStream; stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream } {
  return spawn(process.execPath, [main, "tokenize", ...flags], { stdio: ["pipe", "pipe", "pipe"] });
}

async function run(input: string | Buffer, ...flags: string[]): Promise<{ out: string; errors: string; code: number }> {
  const child = start(...flags);
  child.stdin.end(input);
  const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close") as Promise<[number]>]);
  return { out, errors, code };
}

void test("one JSON array a line, whatever ends the lines", async () => {
  const { out, code } = await run("a photo of a dog\n\nCafé isn't\r\nlast", "--json");
  assert.equal(out, "[49406,320,1125,539,320,1929,49407]\n[49406,49407]\n[49406,15304,2923,713,49407]\n[49406,952,49407]\n");
  assert.equal(code, 0);
  assert.equal((await run("", "--json")).out, "");
  assert.equal((await run("\n", "--json")).out, "[49406,49407]\n");
});

void test("long captions are cut, and the flags are heeded", async () => {
  const long = JSON.parse((await run("dog ".repeat(10_000), "--json")).out) as number[];
  assert.deepEqual([long.length, long[0], long.at(-1)], [77, 49406, 49407]);
  assert.equal((await run("a photo of a dog", "--json", "--context-length", "4")).out, "[49406,320,1125,49407]\n");
  assert.equal((await run("A_dog!", "--json", "--cleaning", "canonicalize")).out, "[49406,320,1929,49407]\n");
});

void test("without --json the tokens are shown beside their ids", async () => {
  assert.equal((await run("a surfboarder\n")).out, "<start_of_text>:49406 a_:320 surf:10176 boarder_:37414 <end_of_text>:49407\n");
});

void test("a line is answered before the next one comes, also when a letter is cut in two", async () => {
  const child = start("--json");
  const cafe = Buffer.from("café\n");
  child.stdin.write("a dog\n");
  assert.equal(String((await once(child.stdout, "data"))[0]), "[49406,320,1929,49407]\n");
  child.stdin.write(cafe.subarray(0, 4));
  setTimeout(() => child.stdin.end(cafe.subarray(4)), 50);
  assert.equal(String((await once(child.stdout, "data"))[0]), "[49406,15304,49407]\n");
  assert.deepEqual((await once(child, "close"))[0], 0);
});

void test("a reader that has seen enough ends the command without an error", async () => {
  const child = start("--json");
  child.stdin.on("error", () => {});
  child.stdin.end("a photo of a dog\n".repeat(200_000));
  await once(child.stdout, "data");
  (child.stdout as unknown as { destroy(): void }).destroy();
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, "close") as Promise<[number]>]);
  assert.deepEqual([errors, code], ["", 0]);
});

void test("wrong flags are usage errors", async () => {
  for (const flags of [["--context-length", "1"], ["--context-length", "x"], ["--cleaning", "lowr"], ["--jsn"]]) {
    const { out, errors, code } = await run("a\n", ...flags);
    assert.deepEqual([out, code], ["", 2], flags.join(" "));
    assert.match(errors, /error/u);
  }
});
