/** The README does what it says: its commands run as printed, in order, and what it shows of other files is what they hold. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { commandLines, fences, root } from "./pages.ts";

const readme = readFileSync(join(root, "README.md"), "utf8");
const program = join(root, "dist", "src", "cli", "main.js");
const scratch = mkdtempSync(join(tmpdir(), "laclip-readme-"));
after(() => rmSync(scratch, { recursive: true }));

function sh(command: string): { status: number | null; stdout: string; stderr: string } {
  return spawnSync("bash", ["-c", command], { cwd: scratch, encoding: "utf8" });
}

test("the README's commands work as printed after the demo, in a demo of few pictures and steps", () => {
  symlinkSync(join(root, "examples"), join(scratch, "examples"));
  const lines = commandLines(readme);
  assert.equal(lines[0], "npm run demo");
  const demo = sh(`'${process.execPath}' '${program}' demo --limit 24 --steps 2 --llm eda`);
  assert.equal(demo.status, 0, demo.stderr);
  assert.ok(existsSync(join(scratch, "laclip-demo", "report.html")));

  const others = lines.filter((line) => !line.startsWith("npm "));
  assert.ok(others.length >= 9, others.join("\n"));
  for (const line of others) {
    const { status, stdout, stderr } = sh(line.replaceAll("npx laclip", `'${process.execPath}' '${program}'`));
    // The doctor's exit code tells of this machine, not of the command.
    if (!line.endsWith("laclip doctor")) assert.equal(status, 0, `${line}\n${stderr}`);
    // Training says where the model is on standard error; everything else has something to say for itself.
    if (!/ train .*--set /.test(line) && !line.includes(" rewrite ")) assert.notEqual(stdout.trim(), "", line);
  }
  assert.ok(existsSync(join(scratch, "laclip-demo", "mine", "run", "model", "model.safetensors")));
});

test("the example in the README is the example's file, below its head comment", () => {
  const file = readFileSync(join(root, "examples", "zero-shot.mjs"), "utf8");
  assert.deepEqual(fences(readme, "js"), [file.replace(/^\/\*\*[\s\S]*?\*\/\n/, "")]);
});

for (const page of ["README.md", "docs/demo.md"]) {
  const results = join(root, "docs", "demo-results.json");
  const skip = existsSync(results) ? false : "docs/demo-results.json is not there yet: run the demo, then scripts/demo-table.mjs --keep";
  test(`${page} shows exactly the table that scripts/demo-table.mjs prints`, { skip }, () => {
    const printed = spawnSync(process.execPath, [join(root, "scripts", "demo-table.mjs")], { encoding: "utf8" });
    assert.equal(printed.status, 0, printed.stderr);
    const [, shown] = /<!-- demo-results -->\n([\s\S]*?)<!-- \/demo-results -->/.exec(readFileSync(join(root, page), "utf8")) ?? [];
    assert.equal(shown, printed.stdout);
  });
}
