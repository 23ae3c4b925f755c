#!/usr/bin/env node
/** The command line: takes the arguments apart, runs the command, ends with its exit code. */
import { fstatSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { LaclipError, exitCodes, writeAll } from "../support/index.ts";
import { commands } from "./command-list.ts";
import { report } from "./command.ts";
import { version } from "./version.ts";

async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("laclip")
    .description("Train better image-text models by rewriting their captions.")
    .version(version)
    .enablePositionalOptions()
    .showSuggestionAfterError();
  const [first, second] = argv.filter((word) => !word.startsWith("-"));
  const asked = first === "help" ? second : first;
  for (const [name, description, load] of commands) {
    if (name === asked) program.addCommand(override(await load(), name).description(description));
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

// Of what is written to a file, Node takes no notice when a disk that is nearly full takes the beginning alone.
if (fstatSync(1).isFile()) {
  process.stdout._write = (chunk: Buffer, _encoding, done) => {
    try {
      writeAll(1, chunk);
      done();
    } catch (error) {
      done(error as Error);
    }
  };
}

// A reader that has seen enough (`| head`) closes the pipe: that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(
    error.code === "EPIPE"
      ? (process.exitCode ?? exitCodes.done)
      : report(new LaclipError(`Standard output can't be written (${error.code}).`, { cause: error })),
  );
});
process.exitCode = await main(process.argv.slice(2));
