import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";

/** What stays on a terminal of 60 columns after a program that uses this room: what was overwritten is gone. */
function screenAfter(program: string): string {
  const before = `Object.assign(process.stderr, { isTTY: true, columns: 60 });
    const { Progress, log, setLogLevel, styled } = await import(${JSON.stringify(new URL("./index.js", import.meta.url).href)});`;
  const { FORCE_COLOR: _, NO_COLOR: __, ...env } = process.env;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", before + program], {
    encoding: "utf8",
    env,
  });
  assert.equal(status, 0, stderr);
  const screen = stderr
    .split("\n")
    .map((line) => line.slice(line.lastIndexOf("\r\u001b[2K") + 1).replace("\u001b[2K", ""))
    .join("\n");
  return stdout + screen;
}

/** Several reports of a progress bar, the time between two being over. */
const bar = `
  let now = 0;
  performance.now = () => (now += 1000);
  const progress = new Progress({ label: "look", total: 4, unit: "images" });`;

describe("a terminal", () => {
  test("what is said stands above the bar, which stays whole below it", () => {
    const screen = screenAfter(`${bar}
      progress.advance();
      log.info("a word between");
      progress.advance(3);
      progress.finish();
      log.info("the end");`);
    assert.match(screen, /^a word between\nlook \[#{20}\] 4\/4 images, .*\nthe end\n$/);
  });

  test("an error ends the bar and stands below it", () => {
    const screen = screenAfter(`${bar}
      progress.advance();
      log.error("broken");`);
    assert.match(screen, /^look \[#{5}\.{15}\] 1\/4 images, .*\n\S*error:\S* broken\n$/);
  });

  test("with --quiet there is no bar", () => {
    assert.equal(screenAfter(`setLogLevel("quiet"); ${bar} progress.advance(); progress.advance(3); progress.finish();`), "");
  });

  test("what goes to a file has no colours, whatever standard error is", () => {
    assert.equal(screenAfter(`process.stdout.write(styled("red", "plain", process.stdout));`), "plain");
  });
});
