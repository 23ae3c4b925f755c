/**
 * `laclip rewrites`: what is in a rewrites folder, and other forms of it. One file a subcommand beside this one.
 */
import { Command } from "commander";
import { examples } from "../command.ts";
import { checkCommand } from "./rewrites-check.ts";
import { exportCommand } from "./rewrites-export.ts";
import { importCommand } from "./rewrites-import.ts";
import { mergeCommand, verifyCommand } from "./rewrites-merge.ts";
import { statsCommand } from "./rewrites-stats.ts";

export function rewritesCommand(): Command {
  // Without it, `--json` after a subcommand would be taken for this command's own.
  const built = new Command("rewrites").enablePositionalOptions();
  built.addCommand(statsCommand());
  built.addCommand(checkCommand());
  built.addCommand(exportCommand());
  built.addCommand(importCommand());
  built.addCommand(mergeCommand());
  built.addCommand(verifyCommand());
  return examples(
    built,
    "laclip rewrites stats rewrites",
    "laclip rewrites check rewrites --captions captions.csv --out checked",
    "laclip rewrites export rewrites --to lines --captions captions.csv --out texts",
    "laclip rewrites merge rewrites --out merged",
  );
}
