#!/usr/bin/env node
/**
 * The command line: one file a command under `commands/`, each loaded only when it is asked for, so that `rewrite` and `tokenize`
 * run on machines without libtorch.
 */
import { Command, CommanderError } from "commander";
import { exitCodes } from "../support/index.ts";
import { report } from "./command.ts";
import { version } from "./version.ts";

/** Name, one-line description, and the module that builds the command. */
const commands: readonly [name: string, description: string, load: () => Promise<() => Command>][] = [
  ["demo", "the whole story on real pictures in minutes", async () => (await import("./commands/demo.ts")).demoCommand],
  ["rewrite", "every caption in other words, by a language model", async () => (await import("./commands/rewrite.ts")).rewriteCommand],
  ["rewrites", "look at rewrites, export them", async () => (await import("./commands/rewrites.ts")).rewritesCommand],
  ["batch", "rewrite through batch files", async () => (await import("./commands/batch.ts")).batchCommand],
  ["pairs", "example pairs for rewriting: look, generate, import", async () => (await import("./commands/pairs.ts")).pairsCommand],
  ["data", "pack data into tars, check them, measure reading", async () => (await import("./commands/data.ts")).dataCommand],
  ["inspect", "look at a data set before training on it", async () => (await import("./commands/inspect.ts")).inspectCommand],
  ["tokenize", "token ids as the model sees them", async () => (await import("./commands/tokenize.ts")).tokenizeCommand],
  ["train", "train CLIP or LaCLIP on image-text pairs", async () => (await import("./commands/train.ts")).trainCommand],
  ["launch", "several processes on this machine, training together", async () => (await import("./commands/launch.ts")).launchCommand],
  ["evaluate", "score a model: zero-shot classification", async () => (await import("./commands/evaluate.ts")).evaluateCommand],
  ["embed", "features of images or texts", async () => (await import("./commands/embed.ts")).embedCommand],
  ["doctor", "what this machine has, how fast it is, what to mend", async () => (await import("./commands/doctor.ts")).doctorCommand],
];

async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("laclip")
    .description("Train better image-text models by rewriting their captions.")
    .version(version)
    .enablePositionalOptions()
    .showSuggestionAfterError();
  const [first, second] = argv.filter((word) => !word.startsWith("-"));
  const asked = first === "help" ? second : first;
  for (const [name, description, load] of commands) {
    if (name === asked) program.addCommand(override(await load(), name));
    else program.command(name).description(description);
  }
  override(() => program, "laclip");
  try {
    await program.parseAsync(argv, { from: "user" });
    return Number(process.exitCode ?? exitCodes.done);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    return report(error);
  }
}

/** Makes commander throw instead of ending the process, here and in all sub-commands. */
function override(build: () => Command, name: string): Command {
  const built = build().name(name);
  const visit = (node: Command): void => {
    node.exitOverride();
    node.commands.forEach((child) => visit(child));
  };
  visit(built);
  return built;
}

// A reader that has seen enough (`| head`) closes the pipe: that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(process.exitCode ?? exitCodes.done);
});
process.exitCode = await main(process.argv.slice(2));
