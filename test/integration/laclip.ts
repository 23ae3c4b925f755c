/** The program as a person runs it: the command line in a process of its own, to its end or until a test kills it. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The compiled program, for those who start it in another way. */
export const program = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

export interface Ended {
  /** Null when a signal has ended the process. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Started {
  child: ChildProcess;
  ended: Promise<Ended>;
}

export interface LaclipOptions {
  /** Default: that of the tests. */
  cwd?: string;
  /** More variables of its environment. */
  env?: Readonly<Record<string, string>>;
}

/** Starts the program, with one thread for its tensors and nothing on standard input. */
export function startLaclip(args: readonly string[], { cwd, env }: LaclipOptions = {}): Started {
  const child = spawn(process.execPath, [program, ...args], {
    ...(cwd !== undefined && { cwd }),
    env: { ...process.env, LACLIP_THREADS: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended: Ended = { code: null, stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) child[name].setEncoding("utf8").on("data", (text: string) => (ended[name] += text));
  return {
    child,
    ended: new Promise((resolve, reject) => child.on("error", reject).on("close", (code) => resolve({ ...ended, code }))),
  };
}

/** Runs the program to its end, however that is. */
export async function runLaclip(args: readonly string[], options?: LaclipOptions): Promise<Ended> {
  return await startLaclip(args, options).ended;
}
