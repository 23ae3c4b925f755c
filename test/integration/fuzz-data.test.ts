/**
 * Damaged data of every kind, read through the ways that training and the tools take: no crash, no hang, no error that blames the
 * program, and no sample that is lost uncounted.
 *
 * The suite tries a few hundred cases; LACLIP_FUZZ=10000 makes it thorough. A case follows from its number: the message of a failure
 * says how to run it alone.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const cases = Number(process.env["LACLIP_FUZZ"] ?? 300);
const program = fileURLToPath(new URL("programs/fuzz-data.js", import.meta.url));
/** Without a sign for so long, a case hangs. */
const patience = 60_000;

/** Runs cases in a process of their own, which may crash or hang without taking the tests along; returns what it counted. */
async function fuzz(kind: string, count: number): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), `laclip-fuzz-${kind}-`));
  try {
    const child = spawn(process.execPath, ["--enable-source-maps", program, kind, "0", String(count), folder], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [printed, said, hung] = ["", "", false];
    const stop = (): void => {
      hung = true;
      child.kill("SIGKILL");
    };
    let clock = setTimeout(stop, patience);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      printed = (printed + text).slice(-10_000);
      clearTimeout(clock);
      clock = setTimeout(stop, patience);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-10_000)));
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
      child.once("close", (status, by) => resolve([status, by])),
    );
    clearTimeout(clock);
    const last = [...printed.matchAll(/^case (\d+)$/gm)].at(-1)?.[1] ?? "0";
    const what = hung ? "hangs" : signal === null ? "fails" : `ends by ${signal}`;
    assert.equal(code, 0, `case ${last} ${what}: node ${program} ${kind} ${last} ${Number(last) + 1} FOLDER\n${said}`);
    return JSON.parse(printed.trimEnd().split("\n").at(-1)!) as Record<string, number>;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const [kind, share] of Object.entries({ tar: 0.4, table: 0.3, image: 0.3 })) {
  test(`damaged data: ${kind}`, async (t) => {
    const count = Math.ceil(cases * share);
    const counts = await fuzz(kind, count);
    t.diagnostic(JSON.stringify(counts));
    assert.equal(counts["cases"], count);
    // Damage that is never noticed, or always fatal, would prove little.
    const sum = (ending: string): number =>
      Object.entries(counts).reduce((total, [name, number]) => total + (name.endsWith(ending) ? number : 0), 0);
    assert.ok(sum(": read") > count / 20 && sum(": refused") > count / 20, JSON.stringify(counts));
  });
}
