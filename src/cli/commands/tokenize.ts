/**
 * `laclip tokenize`: captions from standard input, a line each, to token ids as the model sees them, a line each.
 *
 * Lines are worked on as they come, so that a file of any size needs the same memory, and another program can talk to it line by line.
 */
import { stdin, stdout } from "node:process";
import { StringDecoder } from "node:string_decoder";
import { type Command, Option } from "commander";
import { LaclipError, UsageError, log } from "../../support/index.ts";
import { ClipTokenizer, cleaningModes, contextLength, isCleaningMode } from "../../text/index.ts";
import { command, examples } from "../command.ts";

interface Options {
  json?: boolean;
  contextLength: number;
  cleaning: string;
}

export function tokenizeCommand(): Command {
  const tokenize = command("tokenize")
    .option("--context-length <tokens>", "most tokens of a caption, start and end included", wholeNumber, contextLength)
    .addOption(new Option("--cleaning <mode>", "how captions are cleaned").choices(cleaningModes).default("lower"))
    .action(run);
  return examples(
    tokenize,
    "echo 'a photo of a dog' | laclip tokenize",
    "laclip tokenize --json < captions.txt > ids.jsonl",
    "cut -f2 captions.tsv | laclip tokenize --json --context-length 32",
  );
}

async function run({ json = false, contextLength: length, cleaning }: Options): Promise<void> {
  if (!isCleaningMode(cleaning)) throw new UsageError(`--cleaning: expected ${cleaningModes.join(", ")}, got "${cleaning}".`);
  const tokenizer = ClipTokenizer.load({ cleaning });
  const show = json ? showIds : showTokens;
  if (stdin.isTTY) log.info("Type a caption and press Enter; Ctrl-D ends.");
  await eachBlock((lines) => lines.map((line) => show(tokenizer, tokenizer.tokenize(line, length))).join(""));
}

function showIds(_: ClipTokenizer, ids: Int32Array): string {
  return `[${ids.join(",")}]\n`;
}

/** `surf:10176 boarder_:37414`: text and id of each token, with `_` where the token ends a word. */
function showTokens(tokenizer: ClipTokenizer, ids: Int32Array): string {
  return `${Array.from(ids, (id) => `${tokenizer.decode([id]).replace(/ $/u, "_")}:${id}`).join(" ")}\n`;
}

/** Gives the lines of standard input to `work`, a block at a time as they arrive, and writes what it returns. */
async function eachBlock(work: (lines: string[]) => string): Promise<void> {
  let closed = false;
  let failure: NodeJS.ErrnoException | undefined;
  let goOn: (() => void) | undefined;
  stdout.on("drain", () => goOn?.());
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    // `laclip tokenize | head` closes the pipe when it has seen enough.
    if (error.code !== "EPIPE") failure ??= error;
    closed = true;
    stdin.destroy();
    goOn?.();
  });
  const decoder = new StringDecoder("utf8");
  const unfinished: string[] = [];
  const write = async (lines: string[]): Promise<void> => {
    if (closed || lines.length === 0) return;
    if (!stdout.write(work(lines.map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line)))) && !closed) {
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    }
  };
  try {
    for await (const chunk of stdin) {
      const lines = decoder.write(chunk as Buffer).split("\n");
      const last = lines.pop()!;
      if (lines.length === 0) {
        unfinished.push(last);
        continue;
      }
      lines[0] = unfinished.join("") + lines[0]!;
      unfinished.length = 0;
      if (last !== "") unfinished.push(last);
      await write(lines);
    }
  } catch (error) {
    if (!closed) throw error;
  }
  const rest = unfinished.join("") + decoder.end();
  if (rest !== "") await write([rest]);
  if (failure !== undefined) throw new LaclipError(`standard output: ${failure.message}.`, { cause: failure });
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 2) {
    throw new UsageError(`--context-length: expected a whole number of at least 2 (start and end), got "${text}".`);
  }
  return value;
}
