/**
 * Runs the tests: `node --test` on the compiled files in `dist/`.
 *
 *   npm test                      all of them
 *   npm test -- tokenizer torch   those whose path holds one of the words
 *   npm test -- --test-name-pattern=resume     options of node are passed on
 *
 * The list is made from the sources, so that what an earlier version left in `dist/` is not run. All of them together have a time limit,
 * since nobody may be looking: a file that does not end fails under its name, and what it has started is ended with the run.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Test files at a time, and threads of libtorch in each: together no more than there are processors, or all of them wait for each other. */
const processors = os.availableParallelism();
const concurrency = Math.min(4, processors);
const threads = process.env.LACLIP_THREADS ?? String(Math.max(1, Math.floor(processors / concurrency)));

/** Milliseconds that one file may take, and all of them. On two slow cores the longest takes 3 minutes, and all of them take 20. */
const limits = { file: 15 * 60_000, all: 60 * 60_000 };

const words = process.argv.slice(2).filter((word) => !word.startsWith("-"));
const options = process.argv.slice(2).filter((word) => word.startsWith("-"));

const files = ["src", "test"]
  .flatMap((folder) => readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" }).map((file) => path.join(folder, file)))
  .filter((file) => file.endsWith(".test.ts"))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word.replace(/^dist\//, "").replace(/\.js$/, ""))))
  .sort((a, b) => (a < b ? -1 : 1))
  .map((file) => path.join("dist", file.replace(/\.ts$/, ".js")));

if (files.length === 0) {
  process.stderr.write(`no test file's path holds ${words.map((word) => JSON.stringify(word)).join(" or ")}\n`);
  process.exitCode = 1;
} else {
  const limited = words.length === 0 && options.length === 0;
  const limit = limited ? [`--test-timeout=${limits.file}`] : [];
  const runner = ["--test", "--test-reporter=spec", `--test-concurrency=${concurrency}`, "--enable-source-maps"];
  // In a group of its own, with all that tests start: Node's runner waits for those whom a file that it ended has left behind.
  const child = spawn(process.execPath, [...runner, ...limit, ...options, ...files], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, LACLIP_THREADS: threads },
    detached: true,
  });
  const signalAll = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // Nobody is left.
    }
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => signalAll(signal));
  const overdue = () => {
    process.stderr.write(`the tests did not end within ${limits.all / 60_000} minutes\n`);
    signalAll("SIGKILL");
  };
  const timer = limited ? setTimeout(overdue, limits.all) : undefined;
  child.once("error", (error) => {
    throw error;
  });
  child.once("close", (code, signal) => {
    clearTimeout(timer);
    signalAll("SIGKILL");
    if (signal) process.stderr.write(`the tests were ended by ${signal}\n`);
    process.exitCode = code ?? 1;
  });
}
