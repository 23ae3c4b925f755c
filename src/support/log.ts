/**
 * Words for the person at the terminal. Everything goes to standard error: standard output belongs to data.
 */
import { styleText } from "node:util";

/** How much is printed. Default "normal". */
export type LogLevel = "quiet" | "normal" | "verbose";

let level: LogLevel = "normal";

/** Says how much this process prints from now on. */
export function setLogLevel(next: LogLevel): void {
  level = next;
}

/** True when a stream is a terminal that takes colours (NO_COLOR and FORCE_COLOR are heeded). */
function takesColours(stream: NodeJS.WriteStream): boolean {
  if (process.env["FORCE_COLOR"]) return true;
  if (process.env["NO_COLOR"]) return false;
  return stream.isTTY === true;
}

/**
 * `text` in a style, or as it is where colours are off.
 * @param stream where the text will go; default standard error
 */
export function styled(style: Parameters<typeof styleText>[0], text: string, stream: NodeJS.WriteStream = process.stderr): string {
  return takesColours(stream) ? styleText(style, text) : text;
}

/** What stands on the terminal's last line and moves down when something is said; empty when nothing does. */
let status = "";

const clearLine = "\r\u001b[2K";

function say(text: string): void {
  process.stderr.write(status === "" ? `${text}\n` : `${clearLine}${text}\n${status}`);
}

/** Lines for the person at the terminal, on standard error. */
export const log = {
  /** Progress and results; silent with --quiet. */
  info(text: string): void {
    if (level !== "quiet") say(text);
  },
  /** Something the reader should know, though the work goes on. */
  warn(text: string): void {
    say(`${styled("yellow", "warning:")} ${text}`);
  },
  error(text: string): void {
    log.endStatus();
    say(`${styled("red", "error:")} ${text}`);
  },
  /** Only with --verbose. */
  debug(text: string): void {
    if (level === "verbose") say(styled("dim", text));
  },
  /** Shows a line, no wider than the terminal, in place of the last one shown so; for terminals. Silent with --quiet. */
  status(line: string): void {
    if (level === "quiet") return;
    status = line.slice(0, (process.stderr.columns ?? 80) - 1);
    process.stderr.write(`${clearLine}${status}`);
  },
  /** Leaves the status line where it stands; what follows begins on a new one. */
  endStatus(): void {
    if (status !== "") process.stderr.write("\n");
    status = "";
  },
};

const warned = new Set<string>();

/** A warning that is printed once for each `key`. */
export function warnOnce(key: string, text: string): void {
  if (warned.has(key)) return;
  warned.add(key);
  log.warn(text);
}
