/**
 * What every command shares: how it is declared, how it prints data, how it ends.
 */
import { Command, type Option } from "commander";
import { LaclipError, exitCodes, log, setLogLevel, styled } from "../support/index.ts";

/**
 * A command that looks for its required flags last. Commander does it first, and whoever mistyped one would be told that it is missing
 * instead of what the slip was.
 */
class PatientCommand extends Command {
  readonly #required: Option[] = [];

  override addOption(option: Option): this {
    if (option.mandatory) this.#required.push(option.makeOptionMandatory(false));
    return super.addOption(option);
  }

  /** Ends with a usage error that names every required flag that was not given. */
  checkRequired(): void {
    const missing = this.#required.filter((option) => this.getOptionValue(option.attributeName()) === undefined);
    if (missing.length === 0) return;
    const flags = missing.map((option) => `'${option.flags}'`).join(", ");
    this.error(`error: required ${missing.length === 1 ? "option" : "options"} ${flags} not specified`);
  }
}

/** A new command with the flags that all commands have. @param description of a subcommand; the others have theirs in `command-list.ts` */
export function command(name: string, description = ""): Command {
  return new PatientCommand(name)
    .description(description)
    .option("--json", "print the result as JSON on standard output")
    .option("-q, --quiet", "print errors and warnings only")
    .option("-v, --verbose", "print more about what is done")
    .allowExcessArguments(false)
    .showHelpAfterError("(add --help for what it takes)")
    .hook("preAction", (_, actionCommand) => {
      if (actionCommand instanceof PatientCommand) actionCommand.checkRequired();
      const options = actionCommand.opts<{ quiet?: boolean; verbose?: boolean }>();
      if (options.quiet) setLogLevel("quiet");
      if (options.verbose) setLogLevel("verbose");
    });
}

/** Appends an example to `--help`; each line is a command as a person would type it. */
export function examples(target: Command, ...lines: readonly string[]): Command {
  return target.addHelpText("after", `\nExamples:\n${lines.map((line) => `  $ ${line}`).join("\n")}`);
}

/** Prints data on standard output: a line of JSON for objects, text as it is. */
export function print(value: unknown): void {
  process.stdout.write(`${typeof value === "string" ? value : JSON.stringify(value)}\n`);
}

/** `text` in a style, where standard output is a terminal that takes colours: for what is printed. */
export function coloured(style: Parameters<typeof styled>[0], text: string): string {
  return styled(style, text, process.stdout);
}

/** Tells the person what failed and what to do; returns the exit code that belongs to it. */
export function report(error: unknown): number {
  if (!LaclipError.is(error)) {
    log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
    log.error("This is a defect of laclip, not of your input. Please report it with the text above.");
    return exitCodes.failure;
  }
  log.error(`${error.name}: ${error.message}`);
  if (error.mend) process.stderr.write(`  ${styled("cyan", error.mend)}\n`);
  return error.exitCode;
}
