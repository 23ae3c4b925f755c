/** Several processes of a program at once, as a launcher starts them, meeting in a file. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { distributedBackends } from "../../src/distributed/index.ts";

export interface EndedRank {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Why tests of several processes can't run here; false when they can. */
export function withoutGloo(): string | false {
  return distributedBackends().gloo ? false : "this build of the addon has no Gloo: it needs the distribution's libtorch and libgloo-dev";
}

/** Starts a program, `ranks` times, with variables for all or for each; `children` are for those who want to end one. */
export function startRanks(
  program: string,
  args: readonly string[],
  ranks: number,
  variables: Record<string, string> | ((rank: number) => Record<string, string>) = {},
): { children: ChildProcess[]; ended: Promise<EndedRank[]> } {
  const folder = mkdtempSync(join(tmpdir(), "laclip-ranks-"));
  const children = Array.from({ length: ranks }, (_, rank) =>
    spawn(process.execPath, [program, ...args], {
      env: {
        ...process.env,
        LACLIP_THREADS: "1",
        LACLIP_MEETING_TIMEOUT: "120",
        LACLIP_RANKS_TIMEOUT: "120",
        ...(ranks === 1
          ? {}
          : { RANK: String(rank), WORLD_SIZE: String(ranks), LOCAL_RANK: String(rank), LACLIP_MEET: join(folder, "meet") }),
        ...(typeof variables === "function" ? variables(rank) : variables),
      },
    }),
  );
  const ended = Promise.all(
    children.map(
      async (child) =>
        await new Promise<EndedRank>((resolve) => {
          let [stdout, stderr] = ["", ""];
          child.stdout.on("data", (chunk) => (stdout += chunk));
          child.stderr.on("data", (chunk) => (stderr += chunk));
          child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
        }),
    ),
  ).finally(() => rmSync(folder, { recursive: true, force: true }));
  return { children, ended };
}
