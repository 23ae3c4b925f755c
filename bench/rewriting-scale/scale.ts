/**
 * What the bookkeeping of `laclip rewrite` costs, from ten thousand captions to the twelve million of CC12M: time and memory to start,
 * to go on from where an earlier start left off, and for each rewrite.
 *
 *   node dist/bench/rewriting-scale/scale.js [--captions 10000,100000,1000000,12000000] [--tail 100000]
 *
 * For each size it makes a csv in a temporary folder and runs three processes on it, with all four sources and an engine that answers
 * at once: a first start that stops after the first `tail` captions; a start that goes on where all but the last `tail` are done
 * (their parts are made by DuckDB, in the order in which a run writes them); and one that finds everything done. Prints Markdown.
 * Twelve million captions take 4 GB of disk for some minutes.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtInSources, openCaptions, rewriteCaptions, ungrouped } from "../../src/rewriting/index.ts";
import type { Completion, EngineDescription, RewriteEngine, RewriteGroup } from "../../src/rewriting/index.ts";
import { fillRewrites, makeCaptions } from "../large-data.ts";

const { values } = parseArgs({
  options: {
    captions: { type: "string", default: "10000,100000,1000000,12000000" },
    tail: { type: "string", default: "100000" },
    run: { type: "string" },
    out: { type: "string" },
    limit: { type: "string" },
  },
});

/** Answers at once with the caption's words in another order: what is left is the cost of everything else. */
class InstantEngine implements RewriteEngine {
  readonly name = "instant";
  readonly usesExamples = true;
  /** When the first caption came, by the clock of `performance`. */
  began: number | undefined;
  /** Microseconds of processor time that had been used by then, by all threads. */
  used = 0;

  async describe(): Promise<EngineDescription> {
    return await Promise.resolve({ model: "instant", modelHash: "", sampling: {} });
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>): AsyncGenerator<Completion> {
    for await (const request of ungrouped(groups)) {
      if (this.began === undefined) {
        this.began = performance.now();
        this.used = processorTime();
      }
      const words = request.caption.split(" ");
      yield { request, text: ` ${[...words.slice(3), "and", ...words.slice(0, 3)].join(" ")}`, finish: "stop", tokens: words.length + 1 };
    }
  }

  async close(): Promise<void> {}
}

function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** What one process measured. */
interface Measured {
  /** Seconds from the start of the process to the first caption that the engine got, or to the end where it got none. */
  start: number;
  /** Seconds of processor time until then, by all threads. */
  startUsed: number;
  written: number;
  kept: number;
  /** Rewrites a second, from the first to the end. */
  rate: number;
  /** Microseconds of processor time for each, by all threads: less than the rate does it depend on what else the machine does. */
  cost: number;
  /** Most resident memory, in MB. */
  memory: number;
}

async function measure(captions: string, out: string, limit: number | undefined): Promise<Measured> {
  const engine = new InstantEngine();
  const summary = await rewriteCaptions({
    captions: await openCaptions(captions),
    out,
    engine,
    sources: builtInSources,
    seed: 1,
    ...(limit === undefined ? {} : { limit }),
    createdWith: "benchmark",
  });
  const end = performance.now();
  const began = engine.began ?? end;
  return {
    start: began / 1000,
    startUsed: (engine.began === undefined ? processorTime() : engine.used) / 1e6,
    written: summary.written,
    kept: summary.kept,
    rate: summary.written / Math.max(1e-9, (end - began) / 1000),
    cost: (processorTime() - engine.used) / Math.max(1, summary.written),
    memory: process.resourceUsage().maxRSS / 1024,
  };
}

function inProcess(captions: string, out: string, limit?: number): Measured {
  const words = [
    fileURLToPath(import.meta.url),
    "--run",
    captions,
    "--out",
    out,
    ...(limit === undefined ? [] : ["--limit", String(limit)]),
  ];
  return JSON.parse(execFileSync(process.execPath, words, { stdio: ["ignore", "pipe", "ignore"], encoding: "utf8" })) as Measured;
}

if (values.run !== undefined) {
  const limit = values.limit === undefined ? undefined : Number(values.limit);
  console.log(JSON.stringify(await measure(values.run, values.out!, limit)));
} else {
  const cell = (text: string | number): string => (typeof text === "number" ? Math.round(text).toLocaleString("en-US") : text);
  console.log(
    "| captions | start | what | to the first rewrite, s | processor time until then, s | rewrites a second | processor time each, us | most memory, MB |",
  );
  console.log("|--:|---|---|--:|--:|--:|--:|--:|");
  for (const count of values.captions.split(",").map(Number)) {
    const folder = mkdtempSync(join(tmpdir(), "laclip-scale-"));
    try {
      const [captions, out] = [join(folder, "captions.csv"), join(folder, "rewrites")];
      makeCaptions(captions, count);
      const tail = Math.min(count, Number(values.tail));
      const show = (start: string, { start: seconds, startUsed, written, kept, rate, cost, memory }: Measured): void => {
        const cells = [
          count,
          start,
          `${cell(kept)} there, ${cell(written)} written`,
          seconds.toFixed(1),
          startUsed.toFixed(1),
          ...(written > 0 ? [rate, cost] : ["", ""]),
          memory,
        ];
        console.log(`| ${cells.map((value) => cell(value)).join(" | ")} |`);
      };
      show("first", inProcess(captions, out, tail));
      await fillRewrites(captions, out, count - tail);
      show("goes on", inProcess(captions, out));
      show("all done", inProcess(captions, out));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}
