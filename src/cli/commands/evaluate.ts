/** `laclip evaluate`: what scores a model, what there is to score it on, and what came out; a file each. */
import { Command } from "commander";
import { allCommand } from "./evaluate-all.ts";
import { compareCommand } from "./evaluate-compare.ts";
import { evaluateDatasetsCommand } from "./evaluate-datasets.ts";
import { fewShotCommand } from "./evaluate-few-shot.ts";
import { linearProbeCommand } from "./evaluate-linear-probe.ts";
import { publishedCommand } from "./evaluate-published.ts";
import { reportCommand } from "./evaluate-report.ts";
import { retrievalCommand } from "./evaluate-retrieval.ts";
import { zeroShotCommand } from "./evaluate-zero-shot.ts";

export function evaluateCommand(): Command {
  // Without it, `--json` after a subcommand would be taken for this command's own.
  const built = new Command("evaluate").enablePositionalOptions();
  const scoring = [zeroShotCommand(), fewShotCommand(), linearProbeCommand(), retrievalCommand(), allCommand()];
  for (const one of [...scoring, reportCommand(), compareCommand(), publishedCommand(), evaluateDatasetsCommand()]) built.addCommand(one);
  return built;
}
