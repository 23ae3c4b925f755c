/**
 * `laclip launch`: several processes of one command on this machine, which find each other and end together.
 *
 * Each gets torchrun's variables, its share of the processors, and a file to meet in, so that nothing listens on the network. What they
 * print is shown with their ranks before it and kept in a file for each. When one dies, the others are ended too: they would wait for it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { UsageError, exitCodes, log, makeFolder } from "../../support/index.ts";
import { defaultThreads } from "../../torch/index.ts";
import { command, examples } from "../command.ts";
import { parseWhole } from "../options.ts";

interface LaunchFlags {
  processes: number;
  logs?: string;
}

/** Commands that can be run by several processes at once. */
const launchable = ["train"];

/** Seconds that the others get to end by themselves once one has died, and then after being asked to. */
const grace = 10;

/** Lines of a dead rank that are shown again at the end. */
const lastLines = 12;

interface Ended {
  rank: number;
  code: number | null;
  signal: NodeJS.Signals | null;
}

export function launchCommand(): Command {
  const launch = command("launch")
    .passThroughOptions()
    .argument("<command...>", `behind the flags of launch, the command (${launchable.join(", ")}) with its flags`)
    .requiredOption("--processes <count>", "how many; on GPUs, one for each", parseWhole(1))
    .option("--logs <folder>", "where each rank's lines are kept (default: `logs` in the run folder)")
    .action(async (words: string[], flags: LaunchFlags) => {
      process.exitCode = await run(words, flags);
    });
  return examples(
    launch,
    "laclip launch --processes 2 -- train clip-vit-b-16 --data captions.csv --out runs/clip",
    "laclip launch --processes 8 --logs logs -- train laclip-vit-b-16 --data 'shards/{00000..00331}.tar' --out runs/cc3m",
  );
}

async function run(words: readonly string[], { processes, logs }: LaunchFlags): Promise<number> {
  if (!launchable.includes(words[0] ?? "")) {
    throw new UsageError(`laclip launch can't run "${words[0]}" in several processes: expected ${launchable.join(" or ")}.`);
  }
  const folder = logs ?? logsOf(words);
  if (folder !== undefined) {
    makeFolder(folder);
  }
  const meeting = mkdtempSync(join(tmpdir(), "laclip-launch-"));
  try {
    return await new Launch(words, processes, join(meeting, "meet"), folder).end();
  } finally {
    rmSync(meeting, { recursive: true, force: true });
  }
}

/** `logs` in the folder that the command writes; undefined when it names none. */
function logsOf(words: readonly string[]): string | undefined {
  const at = words.findIndex((word) => word === "--out" || word.startsWith("--out="));
  const out = at < 0 ? undefined : words[at]!.startsWith("--out=") ? words[at]!.slice("--out=".length) : words[at + 1];
  return out === undefined || out === "" ? undefined : join(out, "logs");
}

/** The processes, from their start to the end of the last. */
class Launch {
  readonly #children: ChildProcess[];
  readonly #last: string[][];
  readonly #ended: Ended[] = [];
  /** The rank that the others ended for, as far as is known. */
  #failed: Ended | undefined;
  /** Whether those that did not end by themselves were killed from here. */
  #killed = false;

  constructor(words: readonly string[], processes: number, meeting: string, logs: string | undefined) {
    const main = fileURLToPath(new URL("../main.js", import.meta.url));
    const threads = Math.max(1, Math.floor(defaultThreads() / processes));
    this.#last = Array.from({ length: processes }, () => []);
    this.#children = this.#last.map((_, rank) => {
      const child = spawn(process.execPath, [...process.execArgv, main, ...words], {
        env: {
          ...process.env,
          RANK: String(rank),
          WORLD_SIZE: String(processes),
          LOCAL_RANK: String(rank),
          LOCAL_WORLD_SIZE: String(processes),
          LACLIP_MEET: meeting,
          LACLIP_THREADS: String(threads),
        },
        stdio: ["ignore", "pipe", "pipe"],
        // A terminal's Ctrl-C goes to all of its processes; these get it from here, once.
        detached: true,
      });
      this.#follow(child, rank, logs);
      return child;
    });
  }

  /** The exit code of the launch, once all have ended. */
  async end(): Promise<number> {
    const pass = (signal: NodeJS.Signals): void => {
      log.info(`${signal}: passed on to ${this.#children.length} processes.`);
      this.#signal(signal);
    };
    process.on("SIGINT", pass).on("SIGTERM", pass);
    const abandon = (): void => this.#signal("SIGKILL");
    process.on("exit", abandon);
    try {
      await Promise.all(this.#children.map(async (child, rank) => await this.#endOf(child, rank)));
    } finally {
      process.off("SIGINT", pass).off("SIGTERM", pass).off("exit", abandon);
    }
    return this.#report();
  }

  async #endOf(child: ChildProcess, rank: number): Promise<void> {
    const ended = await new Promise<Ended>((resolve) => {
      child.once("error", (error) => {
        log.error(`rank ${rank} could not be started: ${error.message}`);
        resolve({ rank, code: exitCodes.failure, signal: null });
      });
      child.once("close", (code, signal) => resolve({ rank, code, signal }));
    });
    this.#ended.push(ended);
    if (ended.code === exitCodes.done || ended.code === exitCodes.restart) return;
    if (this.#failed !== undefined) {
      // Where this process stood still meanwhile, the ends come by rank and not by time. Nobody is killed for the end of another.
      if (isKilled(ended) && !isKilled(this.#failed) && !this.#killed) this.#failed = ended;
      return;
    }
    this.#failed = ended;
    const others = this.#children.length - this.#ended.length;
    if (others === 0) return;
    log.error(`rank ${rank} ${inWords(ended)}; ending the other ${others}.`);
    // They notice by themselves where a connection breaks, and then say what they were at.
    for (const [after, signal] of [
      [grace, "SIGTERM"],
      [2 * grace, "SIGKILL"],
    ] as const) {
      setTimeout(() => {
        this.#killed ||= signal === "SIGKILL";
        this.#signal(signal);
      }, after * 1000).unref();
    }
  }

  #report(): number {
    const failed = this.#failed;
    if (failed === undefined) return this.#ended.some(({ code }) => code === exitCodes.restart) ? exitCodes.restart : exitCodes.done;
    const lines = this.#last[failed.rank]!;
    log.error(
      `rank ${failed.rank} ${inWords(failed)}${lines.length > 0 ? `. Its last lines:\n${lines.map((line) => `  ${line}`).join("\n")}` : "."}`,
    );
    if (failed.signal !== null) log.info("The same command goes on from the newest checkpoint, where there is one.");
    return failed.code ?? 128 + constants.signals[failed.signal ?? "SIGKILL"];
  }

  #signal(signal: NodeJS.Signals): void {
    for (const child of this.#children) if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  }

  #follow(child: ChildProcess, rank: number, logs: string | undefined): void {
    const file = logs === undefined ? undefined : createWriteStream(join(logs, `rank-${rank}.log`), { flags: "a" });
    file?.on("error", (error) => log.warn(`the log of rank ${rank} can't be written: ${error.message}`));
    child.once("close", () => file?.end());
    const last = this.#last[rank]!;
    const lines = (from: Readable, to: NodeJS.WriteStream, prefix: string): void => {
      createInterface({ input: from, crlfDelay: Infinity }).on("line", (line) => {
        file?.write(`${line}\n`);
        to.write(`${prefix}${line}\n`);
        if (to === process.stderr && last.push(line) > lastLines) last.shift();
      });
    };
    // Data on standard output stay as they are, for whoever reads them: rank 0 alone writes some.
    lines(child.stdout!, process.stdout, "");
    lines(child.stderr!, process.stderr, `[${rank}] `);
  }
}

function isKilled({ signal }: Ended): boolean {
  return signal === "SIGKILL";
}

function inWords({ code, signal }: Ended): string {
  return signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
}
