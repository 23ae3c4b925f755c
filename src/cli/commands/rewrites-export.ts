/**
 * `laclip rewrites export`: a rewrites folder in forms that others read.
 */
import type { Command } from "commander";
import { openRewritesFolder } from "../../data/index.ts";
import type { RewritesFolder } from "../../data/index.ts";
import { exportLines, exportRows, openCaptions } from "../../rewriting/index.ts";
import { UsageError, log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";

interface ExportOptions {
  to: string;
  out?: string;
  sources?: string[];
  captions?: string;
  idColumn?: string;
  captionColumn?: string;
  json?: boolean;
}

export function exportCommand(): Command {
  const built = command("export", "the rewrites as csv or jsonl rows, or as LaCLIP's text files with one line a caption")
    .argument("<folder>", "a rewrites folder")
    .requiredOption("--to <form>", "csv, jsonl or lines")
    .option("--out <path>", "file to write (csv, jsonl; default: standard output) or folder (lines)")
    .option("--sources <names>", "only these sources, separated by commas", (text) => text.split(",").filter((name) => name !== ""))
    .option("--captions <file>", "lines: the captions that were rewritten; line i belongs to caption i")
    .option("--id-column <name>", "lines: column with the ids")
    .option("--caption-column <name>", "lines: column with the captions")
    .action(async (path: string, options: ExportOptions) => await runExport(path, options));
  return examples(
    built,
    "laclip rewrites export rewrites --to csv > rewrites.csv",
    "laclip rewrites export rewrites --to lines --captions captions.csv --out texts",
  );
}

async function runExport(path: string, { to, out, sources, captions, json, ...columns }: ExportOptions): Promise<void> {
  const folder = await openRewritesFolder(path);
  const chosen = sources ? { sources } : {};
  if (to === "csv" || to === "jsonl") {
    if (out === undefined) return await exportToScreen(folder, to, chosen);
    const rows = await exportRows(folder, { to, out, ...chosen });
    if (json) print({ out, rows });
    else log.info(`${rows} rows written to ${out}`);
    return;
  }
  if (to !== "lines") throw new UsageError(`--to ${to}: there is no such form.`, { mend: "Choose csv, jsonl or lines." });
  if (captions === undefined || out === undefined) {
    throw new UsageError("--to lines needs the captions file and a folder to write to.", { mend: "Add --captions FILE and --out FOLDER." });
  }
  const report = await exportLines(folder, { captions: await openCaptions(captions, columns), out, ...chosen });
  if (json) return print(report);
  log.info(`${report.lines} lines each in ${report.files.join(", ")}`);
  for (const [source, count] of Object.entries(report.originals))
    if (count > 0) log.info(`  ${source}: ${count} lines hold the original, for want of a usable rewrite`);
}

async function exportToScreen(folder: RewritesFolder, to: "csv" | "jsonl", chosen: { sources?: readonly string[] }): Promise<void> {
  try {
    await exportRows(folder, { to, out: process.stdout, ...chosen });
  } catch (error) {
    // `... | head` has read enough: that is no failure.
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}
