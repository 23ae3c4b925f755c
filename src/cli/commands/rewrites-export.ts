/**
 * `laclip rewrites export`: a rewrites folder in forms that others read.
 */
import type { Command } from "commander";
import { openRewritesFolder } from "../../data/index.ts";
import type { RewritesFolder } from "../../data/index.ts";
import { exportLines, exportParquet, exportRows, exportWebdataset, openCaptions } from "../../rewriting/index.ts";
import type { AlignOptions, RowsFormat } from "../../rewriting/index.ts";
import { UsageError, log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";

interface ExportOptions {
  to: string;
  out?: string;
  sources?: string[];
  captions?: string;
  idColumn?: string;
  captionColumn?: string;
  json?: boolean;
}

/** Forms that go by the captions' own order. */
const aligned: Readonly<Record<string, (folder: RewritesFolder, options: AlignOptions & { out: string }, json: boolean) => Promise<void>>> =
  {
    async lines(folder, options, json) {
      const report = await exportLines(folder, options);
      if (json) return print(report);
      log.info(`${report.lines} lines each in ${report.files.join(", ")}`);
      for (const [source, count] of Object.entries(report.originals))
        if (count > 0) log.info(`  ${source}: ${count} lines hold the original, for want of a usable rewrite`);
    },
    async parquet(folder, options, json) {
      const report = await exportParquet(folder, options);
      if (json) return print(report);
      log.info(`${report.rows} rows with the columns ${report.columns.join(", ")} in ${report.file}`);
    },
    async webdataset(folder, options, json) {
      const report = await exportWebdataset(folder, options);
      if (json) return print(report);
      log.info(`${report.tars} tars with ${report.samples} samples written to ${report.out}; ${report.kept} were there already`);
      if (report.otherCaptions > 0)
        log.warn(
          `${report.otherCaptions} samples had another text under "caption" in their .json than the caption that was rewritten; it stays`,
        );
      log.info(`for open_clip: --json-text-key "${report.jsonTextKey}" --json-text-key-probs ${report.jsonTextKeyProbs.join(" ")}`);
    },
  };

/** Forms that list the folder's rewrites. */
const rowsFormats: readonly string[] = ["csv", "jsonl"] satisfies RowsFormat[];

export function exportCommand(): Command {
  const built = command("export", "the rewrites as rows, as LaCLIP's text files, as parquet, or in the tars of a webdataset")
    .argument("<folder>", "a rewrites folder")
    .requiredOption("--to <form>", [...rowsFormats, ...Object.keys(aligned)].join(", "))
    .option("--out <path>", "file to write (csv, jsonl: default is standard output; parquet) or folder (lines, webdataset)")
    .option("--sources <names>", "only these sources, separated by commas", (text) => text.split(",").filter((name) => name !== ""))
    .option("--captions <file>", "lines, parquet, webdataset: the captions that were rewritten, named as for laclip rewrite")
    .option("--id-column <name>", "their column with the ids, if it was named for laclip rewrite")
    .option("--caption-column <name>", "their column with the captions, likewise")
    .action(async (path: string, options: ExportOptions) => await runExport(path, options));
  return examples(
    built,
    "laclip rewrites export rewrites --to csv > rewrites.csv",
    "laclip rewrites export rewrites --to lines --captions captions.csv --out texts",
    "laclip rewrites export rewrites --to parquet --captions captions.csv --out rewrites.parquet",
    'laclip rewrites export rewrites --to webdataset --captions "shards/{00000..00012}.tar" --out shards-rewritten',
  );
}

async function runExport(path: string, { to, out, sources, captions, json = false, ...columns }: ExportOptions): Promise<void> {
  const chosen = sources ? { sources } : {};
  if (to === "csv" || to === "jsonl") {
    const folder = await openRewritesFolder(path);
    if (out === undefined) return await exportToScreen(folder, to, chosen);
    const rows = await exportRows(folder, { to, out, ...chosen });
    if (json) print({ out, rows });
    else log.info(`${rows} rows written to ${out}`);
    return;
  }
  const write = Object.hasOwn(aligned, to) ? aligned[to] : undefined;
  if (!write) {
    const known = [...rowsFormats, ...Object.keys(aligned)];
    throw new UsageError(`--to ${to}: there is no such form.`, { mend: `Choose ${known.slice(0, -1).join(", ")} or ${known.at(-1)}.` });
  }
  if (captions === undefined || out === undefined) {
    throw new UsageError(`--to ${to} needs the captions that were rewritten, and a place to write to.`, {
      mend: "Add --captions FILE and --out PATH.",
    });
  }
  const signal = interruptSignal("stopping");
  const folder = await openRewritesFolder(path);
  await write(folder, { captions: await openCaptions(captions, columns), out, ...chosen, signal }, json);
}

async function exportToScreen(folder: RewritesFolder, to: RowsFormat, chosen: { sources?: readonly string[] }): Promise<void> {
  try {
    await exportRows(folder, { to, out: process.stdout, ...chosen });
  } catch (error) {
    // `... | head` has read enough: that is no failure.
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}
