/** `laclip demo`: the whole story on real pictures, in minutes. */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import type { Command } from "commander";
import { reportFiles, resultTable, runDemo, totalTraining } from "../../demo/index.ts";
import { log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { deviceFlag, deviceOfFlag } from "../device-option.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseWhole } from "../options.ts";
import { createdWith } from "../version.ts";

interface DemoFlags {
  out: string;
  llm?: string;
  seeds: number;
  steps?: number;
  limit?: number;
  device?: string;
  json?: boolean;
}

export function demoCommand(): Command {
  const demo = command("demo")
    .option("--out <folder>", "folder for everything it makes", "laclip-demo")
    .option("--llm <model>", "rewriter: GGUF file, hf:owner/repository/file.gguf, http://host:port/v1, or eda")
    .option("--seeds <count>", "training runs of each method; more than one gives mean and interval", parseWhole(1), 1)
    .option("--steps <count>", "training steps of each run", parseWhole(1))
    .option("--limit <concepts>", "only so many concepts, for a quick look", parseWhole(1))
    .option(...deviceFlag("the models are trained"))
    .action(run);
  return examples(demo, "laclip demo", "laclip demo --seeds 5", "laclip demo --llm llama-7b.Q4_K_M.gguf --out with-llama");
}

async function run(flags: DemoFlags): Promise<void> {
  const results = await runDemo({
    ...flags,
    device: deviceOfFlag(flags.device),
    signal: interruptSignal("saving what is done"),
    createdWith,
  });
  const files = reportFiles(flags.out);
  log.info(
    `Trained for ${totalTraining(results)} in all. The rewriter was ${results.rewriter.label}. Results: ${relative("", files.json)}; report: ${relative("", files.html)}`,
  );
  if (flags.json) print(readFileSync(files.json, "utf8"));
  else print(resultTable(results));
}
