/**
 * How many completions a second one process gets from a server that costs nothing, with all that belongs to it: captions from a file,
 * examples, prompts, checks, and the rewrites folder.
 *
 *   node dist/bench/rewriting/client.js [--captions 50000] [--concurrency 256] [--servers 1] [--rounds 3]
 *
 * The server (stub-server.ts) is a process of its own, so a machine needs two free cores. Processor time is given beside: on a busy
 * machine it tells more than the clock.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { OpenAiCompatibleEngine, chooseSources, openCaptions, rewriteCaptions } from "../../src/rewriting/index.ts";
import { setLogLevel } from "../../src/support/index.ts";

const { values } = parseArgs({
  options: {
    captions: { type: "string", default: "50000" },
    concurrency: { type: "string", default: "256" },
    servers: { type: "string", default: "1" },
    rounds: { type: "string", default: "3" },
  },
});
const [captions, concurrency, servers, rounds] = [values.captions, values.concurrency, values.servers, values.rounds].map(Number) as [
  number,
  number,
  number,
  number,
];
setLogLevel("quiet");

async function startServer(): Promise<{ url: string; child: ChildProcess }> {
  const program = fileURLToPath(new URL("stub-server.js", import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { url: line.toString().trim(), child };
}

const folder = mkdtempSync(join(tmpdir(), "laclip-client-"));
const stubs = await Promise.all(Array.from({ length: servers }, startServer));
try {
  const table = join(folder, "captions.csv");
  const line = (i: number): string =>
    `${i},a small red bus number ${i} waits under a tree near the river while two dogs sleep on the road\n`;
  writeFileSync(table, `id,caption\n${Array.from({ length: captions }, (_, i) => line(i)).join("")}`);
  const found: { perSecond: number; microseconds: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const engine = new OpenAiCompatibleEngine({ url: stubs.map(({ url }) => url), concurrency });
    const before = process.cpuUsage();
    const { written, seconds, failed } = await rewriteCaptions({
      captions: await openCaptions(table),
      out: join(folder, `out-${round}`),
      engine,
      sources: chooseSources(["chatgpt"]),
      seed: round,
      createdWith: "benchmark",
    });
    await engine.close();
    const { user, system } = process.cpuUsage(before);
    if (written !== captions || failed > 0) throw new Error(`${written} of ${captions} were written, ${failed} failed`);
    found.push({ perSecond: Math.round(written / seconds), microseconds: Math.round((user + system) / written) });
    process.stderr.write(
      `round ${round + 1}: ${found[round]!.perSecond} completions/s, ${found[round]!.microseconds} us of processor time for each\n`,
    );
  }
  const middle = found.toSorted((a, b) => a.perSecond - b.perSecond)[Math.floor(rounds / 2)]!;
  process.stdout.write(`${JSON.stringify({ captions, concurrency, servers, rounds: found, median: middle })}\n`);
} finally {
  for (const { child } of stubs) child.stdin?.end();
  rmSync(folder, { recursive: true });
}
