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

/** True when standard error is a terminal that takes colours (NO_COLOR and FORCE_COLOR are heeded). */
export function colours(): boolean {
  if (process.env["FORCE_COLOR"]) return true;
  if (process.env["NO_COLOR"]) return false;
  return process.stderr.isTTY === true;
}

/** `text` in a style, or as it is where colours are off. */
export function styled(style: Parameters<typeof styleText>[0], text: string): string {
  return colours() ? styleText(style, text) : text;
}

/** Lines for the person at the terminal, on standard error. */
export const log = {
  /** Progress and results; silent with --quiet. */
  info(text: string): void {
    if (level !== "quiet") process.stderr.write(`${text}\n`);
  },
  /** Something the reader should know, though the work goes on. */
  warn(text: string): void {
    process.stderr.write(`${styled("yellow", "warning:")} ${text}\n`);
  },
  error(text: string): void {
    process.stderr.write(`${styled("red", "error:")} ${text}\n`);
  },
  /** Only with --verbose. */
  debug(text: string): void {
    if (level === "verbose") process.stderr.write(`${styled("dim", text)}\n`);
  },
};

const warned = new Set<string>();

/** A warning that is printed once for each `key`. */
export function warnOnce(key: string, text: string): void {
  if (warned.has(key)) return;
  warned.add(key);
  log.warn(text);
}
