/**
 * `laclip data`: data sets packed into tars, checked, measured. One file a subcommand beside this one.
 */
import { Command } from "commander";
import { examples } from "../command.ts";
import { benchCommand } from "./data-bench.ts";
import { packCommand } from "./data-pack.ts";
import { verifyDataCommand } from "./data-verify.ts";

export function dataCommand(): Command {
  // Without it, `--json` after a subcommand would be taken for this command's own.
  const built = new Command("data").enablePositionalOptions();
  built.addCommand(packCommand());
  built.addCommand(verifyDataCommand());
  built.addCommand(benchCommand());
  return examples(
    built,
    "laclip data pack captions.csv --images images --out shards",
    "laclip data verify shards",
    "laclip data bench shards",
  );
}
