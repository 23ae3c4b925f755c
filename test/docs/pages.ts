/** The documents of the project, as the tests here read them. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's folder, from dist/test/docs. */
export const root = fileURLToPath(new URL("../../../", import.meta.url));

export interface Page {
  /** Relative to the repository's folder. */
  path: string;
  text: string;
}

/** Every Markdown file of the repository, sorted. */
export function pages(): Page[] {
  const top = readdirSync(root).filter((name) => name.endsWith(".md"));
  const below = ["docs", "native", "bench", "test", "src", "scripts", "examples"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .map((name) => join(folder, name)),
  );
  return [...top, ...below].sort().map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

/** The pages that are written for the reader of the whole project: at the top and in docs/. */
export function readersPages(): Page[] {
  return pages().filter(({ path }) => !path.includes("/") || path.startsWith("docs/"));
}

/** Contents of the fenced blocks of a language, in order. */
export function fences(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter(([, found]) => found === language).map(([, , body]) => body!);
}

/** The page without its fenced blocks. */
export function prose(text: string): string {
  return text.replace(/^```[\s\S]*?^```$/gm, "");
}

/** The command lines of `sh` blocks: comments left out, lines that end in a backslash joined with the next. */
export function commandLines(text: string): string[] {
  return fences(text, "sh")
    .flatMap((block) => block.replace(/\\\n\s*/g, "").split("\n"))
    .map((line) => line.replace(/(^|\s+)#.*$/, "").trim())
    .filter((line) => line !== "");
}

/** The words of a command as the shell would see them; quotes are taken off. */
export function wordsOf(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare!);
}

/** The simple commands of a line: cut at pipes, `&&` and `;`, without redirections. */
export function simpleCommands(line: string): string[] {
  return line
    .split(/\s*(?:\|\||&&|\||;)\s*/)
    .map((part) => part.replace(/\s*\d?[<>]+\s*\S+/g, "").trim())
    .filter((part) => part !== "");
}
