/**
 * What a data set of millions takes in memory while it is trained on: a csv and a rewrites folder with four texts for each caption.
 *
 *   node dist/bench/data-scale/scale.js [--samples 100000,1000000,12000000] [--steps 400]
 *
 * For each size it makes both in a temporary folder (12 million: 6 GB of disk for some minutes), and a process opens and joins them as
 * `laclip train` does, then takes `steps` batches of 256 from the loader, from the beginning, the middle and the end of three epochs.
 * All rows name the same small image: what is measured is what the texts cost. Prints Markdown.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { openLoader } from "../../src/data/index.ts";
import { emojiLaclip, openData } from "../../src/recipes/index.ts";
import { builtInSources, openCaptions, rewriteCaptions, ungrouped } from "../../src/rewriting/index.ts";
import type { Completion, RewriteEngine, RewriteGroup } from "../../src/rewriting/index.ts";
import { fillRewrites, makeCaptions } from "../large-data.ts";

const { values } = parseArgs({
  options: {
    samples: { type: "string", default: "100000,1000000,12000000" },
    steps: { type: "string", default: "400" },
    run: { type: "string" },
  },
});

/** What one process measured. */
interface Measured {
  /** Seconds until data and rewrites were joined. */
  open: number;
  /** Most resident memory until then, and after each of three parts of the batches, in MB. */
  memory: number[];
  /** Batches a second. */
  rate: number;
}

const peak = (): number => process.resourceUsage().maxRSS / 1024;

async function measure(folder: string, steps: number): Promise<Measured> {
  const { samples, count } = await openData(
    emojiLaclip,
    { file: join(folder, "captions.csv"), rewrites: join(folder, "rewrites") },
    folder,
  );
  const open = performance.now() / 1000;
  const memory = [peak()];
  const batchSize = 256;
  const epoch = Math.floor(count / batchSize);
  const began = performance.now();
  for (const startStep of [0, Math.floor(epoch * 1.5), Math.floor(epoch * 2.9)]) {
    const loader = openLoader({ samples, batchSize, imageSize: 32, seed: 1, choose: "uniform", startStep, totalSteps: startStep + steps });
    for await (const { sources } of loader) if (sources.length !== batchSize) throw new Error("a batch is short");
    memory.push(peak());
  }
  return { open, memory, rate: (steps * 3) / ((performance.now() - began) / 1000) };
}

/** Answers at once. */
class EchoEngine implements RewriteEngine {
  readonly name = "echo";
  readonly usesExamples = true;

  async describe() {
    return await Promise.resolve({ model: "echo", modelHash: "", sampling: {} });
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>): AsyncGenerator<Completion> {
    for await (const request of ungrouped(groups)) yield { request, text: ` so ${request.caption}`, finish: "stop", tokens: 12 };
  }

  async close(): Promise<void> {}
}

if (values.run !== undefined) {
  console.log(JSON.stringify(await measure(values.run, Number(values.steps))));
} else {
  console.log(
    "| samples | texts | to the first batch, s | most memory until then, MB | after three parts of three epochs, MB | batches a second |",
  );
  console.log("|--:|--:|--:|--:|--:|--:|");
  for (const count of values.samples.split(",").map(Number)) {
    const folder = mkdtempSync(join(tmpdir(), "laclip-data-scale-"));
    try {
      const [captions, out] = [join(folder, "captions.csv"), join(folder, "rewrites")];
      mkdirSync(join(folder, "images"));
      await sharp({ create: { width: 32, height: 32, channels: 3, background: "green" } })
        .png()
        .toFile(join(folder, "images", "one.png"));
      makeCaptions(captions, count, "images/one.png");
      const createdWith = "benchmark";
      // A start that writes little makes the folder's manifest; DuckDB fills in the rest.
      await rewriteCaptions({
        captions: await openCaptions(captions),
        out,
        engine: new EchoEngine(),
        sources: builtInSources,
        seed: 1,
        limit: 1000,
        createdWith,
      });
      await fillRewrites(captions, out, count);
      const args = [fileURLToPath(import.meta.url), "--run", folder, "--steps", values.steps];
      const { open, memory, rate } = JSON.parse(
        execFileSync(process.execPath, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }),
      ) as Measured;
      const [first, ...later] = memory.map((mb) => Math.round(mb).toLocaleString("en-US"));
      console.log(
        `| ${count.toLocaleString("en-US")} | ${(count * 5).toLocaleString("en-US")} | ${open.toFixed(1)} | ${first} | ${later.join(", ")} | ${rate.toFixed(0)} |`,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}
