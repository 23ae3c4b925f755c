import type { Command } from "commander";
import { command } from "../command.ts";

export function tokenizeCommand(): Command {
  return command("tokenize", "token ids as the model sees them");
}
