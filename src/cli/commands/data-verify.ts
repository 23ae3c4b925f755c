/**
 * `laclip data verify`: whether tars are whole, and hold what training needs.
 */
import type { Command } from "commander";
import { tarFaults, verifyTars } from "../../curation/index.ts";
import type { TarFaultKind, TarReport } from "../../curation/index.ts";
import { DataError, formatBytes } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { parseWhole } from "../options.ts";

interface VerifyFlags {
  decode?: boolean;
  captionColumn?: string;
  examples: number;
  json?: boolean;
}

export function verifyDataCommand(): Command {
  const built = command("verify", "whether tars are whole, and every sample has an image and a caption")
    .argument("<paths...>", "tars, folders with tars, patterns such as shards/{00000..00012}.tar, or addresses (https://, s3://)")
    .option("--decode", "decode every image, to find those that are cut short")
    .option("--caption-column <name>", "key of the .json with the caption (default: the .txt, else caption, title or text of the .json)")
    .option("--examples <count>", "faults of a kind that are named for each tar; all are counted", parseWhole(0), 5)
    .action(run);
  return examples(
    built,
    "laclip data verify shards",
    "laclip data verify 'shards/{00000..00012}.tar' --decode",
    "laclip data verify shards --json",
  );
}

async function run(paths: string[], { json, ...options }: VerifyFlags): Promise<void> {
  const report = await verifyTars(paths, { ...options, ...(json ? {} : { onTar: (tar) => print(describe(tar)) }) });
  if (json) print(report);
  else print(`${report.tars.length} ${report.tars.length === 1 ? "tar" : "tars"}, ${report.samples} samples, ${formatBytes(report.bytes)}`);
  if (report.faults === 0) return;
  const bad = report.tars.filter(({ counts }) => Object.keys(counts).length > 0);
  const kinds = (Object.keys(tarFaults) as TarFaultKind[]).filter((kind) => bad.some(({ counts }) => counts[kind]));
  const lines = kinds.map((kind) => {
    const count = bad.reduce((sum, { counts }) => sum + (counts[kind] ?? 0), 0);
    return `  ${kind}: ${count} (${tarFaults[kind]})`;
  });
  throw new DataError(`${bad.length} of ${report.tars.length} tars are not as they should be:\n${lines.join("\n")}`, {
    mend: "Damaged and missing tars: fetch or pack them again. Samples that lack something are passed over in training.",
  });
}

function describe({ path, samples, bytes, compared, counts, faults }: TarReport): string {
  const found = Object.entries(counts).map(([kind, count]) => `${count} ${kind}`);
  const verdict = found.length > 0 ? found.join(", ") : compared ? "as it should be" : "nothing wrong";
  const named = faults.map(({ kind, key, says }) => `  ${kind}${key === undefined ? "" : `, ${printable(key)}`}: ${printable(says)}`);
  return [`${path}: ${samples} samples, ${formatBytes(bytes)}, ${verdict}`, ...named].join("\n");
}

/** One line that can't steer the terminal, whatever a name holds. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_C}\u2028\u2029]+/gu, " ");
}
