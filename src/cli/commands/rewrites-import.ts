/**
 * `laclip rewrites import`: texts that others wrote, into a rewrites folder.
 */
import type { Command } from "commander";
import { defaultChecks, importRewrites, openCaptions, setCheck } from "../../rewriting/index.ts";
import { log } from "../../support/index.ts";
import { checkOption } from "../check-option.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { createdWith } from "../version.ts";

interface ImportFlags {
  captions: string;
  source: string;
  provenance: string;
  out: string;
  textIdColumn?: string;
  textColumn?: string;
  idColumn?: string;
  captionColumn?: string;
  check: string[];
  json?: boolean;
}

export function importCommand(): Command {
  const built = command("import", "texts that others wrote for your captions: LaCLIP's text files, or tables with ids")
    .argument(
      "<texts...>",
      "text files whose line i belongs to caption i, one after the other; or csv, tsv, jsonl or parquet with id and text",
    )
    .requiredOption("--captions <file>", "the captions that the texts were written for, named as for laclip rewrite")
    .requiredOption("--source <name>", "the texts' source in the rewrites folder; of a table with a column source, its rows of that name")
    .requiredOption("--provenance <words>", "who wrote the texts; kept in the folder")
    .requiredOption("--out <folder>", "the rewrites folder, new or begun; started again with the same one, the work goes on")
    .option("--text-id-column <name>", "tables: column with the ids (default: id)")
    .option("--text-column <name>", "tables: column with the texts (default: text, rewrite or caption)")
    .option("--id-column <name>", "the captions' column with the ids (default: id, else the image path)")
    .option("--caption-column <name>", "the captions' column with the captions (default: caption, title or text)")
    .option(...checkOption)
    .action(async (texts: string[], options: ImportFlags) => await run(texts, options));
  return examples(
    built,
    'laclip rewrites import cc3m_chatgpt.txt --captions cc3m.csv --source chatgpt --provenance "published with LaCLIP" --out rewrites',
    'laclip rewrites import people.csv --captions captions.csv --source people --provenance "written by our team" --out rewrites',
  );
}

async function run(texts: string[], { captions: path, check, json, ...options }: ImportFlags): Promise<void> {
  const report = await importRewrites({
    ...options,
    texts,
    captions: await openCaptions(path, options),
    checks: check.reduce(setCheck, defaultChecks),
    createdWith,
    signal: interruptSignal("saving what is done"),
  });
  if (json) return print(report);
  const { written, kept, rejected, missing, captions, out, source, flags } = report;
  log.info(`${written} texts of "${source}" written to ${out} for ${captions} captions; ${kept} were there already`);
  if (missing > 0) log.warn(`${missing} captions have no text`);
  if (rejected > 0) log.info(`${rejected} of them are not fit for training: the original caption is used in their place`);
  for (const [flag, count] of Object.entries(flags)) log.info(`  ${flag}: ${count}`);
}
