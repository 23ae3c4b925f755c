/** `laclip evaluate`: what scores a model, and what there is to score it on; a file each. */
import { Command } from "commander";
import { allCommand } from "./evaluate-all.ts";
import { evaluateDatasetsCommand } from "./evaluate-datasets.ts";
import { zeroShotCommand } from "./evaluate-zero-shot.ts";

export function evaluateCommand(): Command {
  // Without it, `--json` after a subcommand would be taken for this command's own.
  const built = new Command("evaluate").description("score a model, and look at scores").enablePositionalOptions();
  return built.addCommand(zeroShotCommand()).addCommand(allCommand()).addCommand(evaluateDatasetsCommand());
}
