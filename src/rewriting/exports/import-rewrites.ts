/**
 * Rewrites that others wrote, into a rewrites folder: LaCLIP's published text files, whose line i belongs to caption i, and tables
 * with an id and a text in each row.
 *
 * Everything is looked at before anything is written: other numbers of lines, ids that no caption has, or two texts for one id are
 * refused. The texts then go through the same checks as those of a language model.
 */
import { createHash } from "node:crypto";
import { basename, dirname, join, resolve } from "node:path";
import { HashedKeys, RewritesWriter, findColumn, hash64, isRewritesFolder, isUsable, readManifest } from "../../data/index.ts";
import type { Rewrite } from "../../data/index.ts";
import { TextJoin, missingColumn, readTable, tableColumns, tableFormat } from "../../formats/index.ts";
import { DataError, Progress, UsageError, makeFolder, sha256File } from "../../support/index.ts";
import { refuseStopped } from "./aligned-rewrites.ts";
import { datasetName } from "../captions/captions-input.ts";
import type { CaptionsInput } from "../captions/captions-input.ts";
import { isEmpty } from "../captions/captions-survey.ts";
import type { CaptionsSurvey } from "../captions/captions-survey.ts";
import { checkRewrite, defaultChecks, recordChecks } from "../checks/checks.ts";
import type { CheckSettings } from "../checks/checks.ts";
import { readLines } from "../captions/text-lines.ts";

/** What is brought in, and where to. */
export interface ImportOptions {
  /** Text files with one text a line, one after the other; or tables (csv, tsv, jsonl, parquet) with ids and texts. */
  texts: readonly string[];
  captions: CaptionsInput;
  /** The rewrites folder, new or begun. */
  out: string;
  /** Name of the source in the folder. */
  source: string;
  /** Who wrote the texts, in words; kept in the folder. */
  provenance: string;
  /** Tables: column with the ids. Default: `id`. */
  textIdColumn?: string | undefined;
  /** Tables: column with the texts. Default: `text`, `rewrite` or `caption`. */
  textColumn?: string | undefined;
  /** What is looked for in a text, and how strictly. Default: `defaultChecks`. */
  checks?: CheckSettings;
  /** Program and version, for the manifest. */
  createdWith: string;
  /** Stops the work; what is done is kept, and InterruptedError thrown. */
  signal?: AbortSignal | undefined;
}

/** What was brought in. */
export interface ImportReport {
  out: string;
  source: string;
  /** Captions that can have a rewrite. */
  captions: number;
  written: number;
  /** There already, from an earlier start. */
  kept: number;
  /** Of those written: not to be trained on. */
  rejected: number;
  /** Captions for which no text came, or an empty one. */
  missing: number;
  /** How often each flag was raised. */
  flags: Record<string, number>;
}

/** A caption and the text for it; none where there is none. */
interface Matched {
  readonly id: string;
  readonly caption: string;
  readonly text: string | undefined;
}

/**
 * Brings texts into a rewrites folder.
 * @throws UsageError when the files are of both kinds, or the folder says another provenance of this source
 * @throws DataError when the texts do not belong to these captions, or the folder holds this source with other texts
 * @throws InterruptedError when stopped; the same command goes on
 */
export async function importRewrites(options: ImportOptions): Promise<ImportReport> {
  const { texts, captions, out, source, provenance, checks = defaultChecks, createdWith, signal } = options;
  const lines = texts.every((path) => /\.txt$/i.test(path));
  if (!lines && !texts.every((path) => tableFormat(path) !== undefined)) {
    throw new UsageError(`${texts.join(", ")}: expected text files (.txt) only, or tables (csv, tsv, jsonl, parquet) only.`);
  }
  refuseOtherProvenance(options);
  const survey = await captions.survey(signal);
  const rewritable = survey.fingerprint.count - survey.repeated;
  const matched = lines ? await matchLines(options, survey) : await matchRows(options, survey);
  const writer = await RewritesWriter.open(out, {
    dataset: datasetName(captions.path),
    fingerprint: survey.fingerprint,
    captions: rewritable,
    sources: {
      [source]: {
        engine: "import",
        model: texts.map((path) => basename(path)).join(", "),
        modelHash: await hashOfFiles(texts),
        promptHash: "",
        provenance,
        sampling: {},
        seed: 0,
        checks: recordChecks(checks),
      },
    },
    createdWith,
    numbers: survey.numbers,
    signal,
  });
  const report: ImportReport = { out, source, captions: rewritable, written: 0, kept: writer.count, rejected: 0, missing: 0, flags: {} };
  const progress = new Progress({ label: "import", total: report.captions, unit: "captions", start: report.kept });
  try {
    const seen = survey.repeated > 0 ? new HashedKeys() : undefined;
    for await (const batch of matched()) {
      refuseStopped(signal);
      const rewrites: Rewrite[] = [];
      for (const { id, caption, text } of batch) {
        if (isEmpty(caption) || seen?.has(id)) continue;
        seen?.set(id);
        if (writer.has(source, id)) continue;
        progress.advance();
        if (text === undefined || isEmpty(text)) report.missing++;
        else rewrites.push(rewriteOf(source, { id, caption, text }, checks));
      }
      await writer.append(rewrites);
      for (const rewrite of rewrites) count(report, rewrite);
    }
    await writer.finish();
    return report;
  } finally {
    progress.finish();
    writer.close();
  }
}

/** What the folder says of a source it says of all its texts: another word for it would be lost. */
function refuseOtherProvenance({ out, source, provenance }: ImportOptions): void {
  if (!isRewritesFolder(out)) return;
  const { sources } = readManifest(out);
  const before = Object.hasOwn(sources, source) ? sources[source]! : undefined;
  if (before === undefined || before.engine !== "import" || before.provenance === provenance) return;
  throw new UsageError(
    `${out}: the provenance of "${source}" is ${JSON.stringify(before.provenance)} there, ${JSON.stringify(provenance)} now.`,
    {
      mend: `Give the same --provenance as before, or another name with --source. To correct it, change it in ${join(out, "manifest.json")}.`,
    },
  );
}

function rewriteOf(source: string, { id, caption, text }: Matched & { text: string }, checks: CheckSettings): Rewrite {
  // People break lines where a model that does has gone astray.
  const line = text.replace(/\s+/g, " ").trim();
  const checked = checkRewrite(line, { caption, knownOutputs: new Set(), finish: "none", shortened: false }, checks);
  return { id, source, ...checked, finish: "none", tokens: 0, seed: 0, examples: [] };
}

function count(report: ImportReport, rewrite: Rewrite): void {
  report.written++;
  if (!isUsable(rewrite)) report.rejected++;
  for (const flag of rewrite.flags) report.flags[flag] = (report.flags[flag] ?? 0) + 1;
}

/** One hash for all files in their order: other texts in the same source are noticed. */
async function hashOfFiles(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) hash.update(await sha256File(path));
  return hash.digest("hex");
}

/** Line i beside caption i. */
async function matchLines(
  { texts, captions }: ImportOptions,
  { fingerprint, empty }: CaptionsSurvey,
): Promise<() => AsyncGenerator<Matched[]>> {
  const rows = fingerprint.count + empty;
  const counts: number[] = [];
  for (const path of texts) {
    let lines = 0;
    for await (const batch of readLines(path)) lines += batch.length;
    counts.push(lines);
  }
  const lines = counts.reduce((a, b) => a + b, 0);
  if (lines !== rows) {
    const each = texts.length > 1 ? ` (${counts.join(" + ")})` : "";
    throw new DataError(
      `${texts.join(", ")}: ${lines} lines${each} for the ${rows} captions of ${captions.path}: line i must belong to caption i.`,
      {
        mend: "Give the captions that the texts were made from, all of them and in that order; or texts with ids, as csv or jsonl.",
      },
    );
  }
  return async function* () {
    const all = inTurn(texts);
    let waiting: readonly string[] = [];
    let at = 0;
    for await (const batch of captions.rows()) {
      const matched: Matched[] = [];
      for (const { id, caption } of batch) {
        while (at === waiting.length) {
          const next = await all.next();
          if (next.done) throw new DataError(`${texts.join(", ")}: these files have changed while they were read.`);
          [waiting, at] = [next.value, 0];
        }
        matched.push({ id, caption, text: waiting[at++] });
      }
      yield matched;
    }
  };
}

async function* inTurn(paths: readonly string[]): AsyncGenerator<string[]> {
  for (const path of paths) yield* readLines(path);
}

/** Texts beside the captions of their ids. */
async function matchRows(options: ImportOptions, { numbers }: CaptionsSurvey): Promise<() => AsyncGenerator<Matched[]>> {
  const { texts, captions, out } = options;
  const known = new HashedKeys();
  let [strangers, first] = [0, ""];
  for (const path of texts) {
    for await (const { row, id, text } of tableTexts(path, options)) {
      if (id === "") throw new DataError(`${path}: row ${row} has no id.`);
      if (!numbers.has(id)) {
        if (strangers++ === 0) first = `${path}: row ${row} has the id ${JSON.stringify(id)}`;
        continue;
      }
      const [hash] = hash64(text);
      const before = known.get(id);
      if (before !== undefined && before !== hash)
        throw new DataError(`${path}: row ${row}: the id ${JSON.stringify(id)} occurs twice with different texts.`, {
          mend: "A source has one text for a caption. Import the others as sources of their own.",
        });
      known.set(id, hash);
    }
  }
  if (strangers > 0) {
    throw new DataError(`${first}, which no caption of ${captions.path} has; so have ${strangers} rows in all.`, {
      mend: "Give the captions that the texts were made for, and with --id-column and --text-id-column the columns whose ids agree.",
    });
  }
  if (known.size === 0)
    throw new DataError(`${texts.join(", ")}: there is no text of the source "${options.source}" here.`, {
      mend: "Where a table has a column `source`, its rows of that name are taken; name one that there is with --source.",
    });
  return async function* () {
    const scratch = dirname(resolve(out));
    makeFolder(scratch);
    const joined = await TextJoin.create(scratch, 1);
    try {
      for (const path of texts) for await (const { id, text } of tableTexts(path, options)) joined.addText(0, { key: id, text });
      for await (const batch of captions.rows()) joined.addRows(batch.map(({ id, caption }) => ({ key: id, text: caption })));
      for await (const rows of joined.rows()) yield rows.map(({ key, text, texts: [found] }) => ({ id: key, caption: text, text: found }));
    } finally {
      joined.close();
    }
  };
}

/** Names tried for the texts, in this order and in any case. */
const textColumns = ["text", "rewrite", "caption"];

/**
 * The rows of a table of texts; of one that names sources, as `laclip rewrites export` writes it, those of this source. A text that
 * has a flag of rejection there comes as "".
 */
async function* tableTexts(
  path: string,
  { textIdColumn, textColumn, source }: ImportOptions,
): AsyncGenerator<{ row: number; id: string; text: string }> {
  const known = await tableColumns(path);
  for (const name of [textIdColumn, textColumn]) if (name !== undefined && !known.includes(name)) throw missingColumn(path, name, known);
  const idColumn = textIdColumn ?? findColumn(known, ["id"]);
  const column = textColumn ?? findColumn(known, textColumns);
  if (idColumn === undefined || column === undefined) {
    const lacking = idColumn === undefined ? "ids" : "texts";
    throw new DataError(`${path}: which column holds the ${lacking}? Its columns are: ${known.join(", ") || "none"}.`, {
      mend: `Name it with ${idColumn === undefined ? "--text-id-column" : "--text-column"}.`,
    });
  }
  const [sourceColumn, flagsColumn] = [findColumn(known, ["source"]), findColumn(known, ["flags"])];
  const wanted = [idColumn, column, sourceColumn, flagsColumn].filter((name) => name !== undefined);
  let row = 0;
  for await (const { rows, columns } of readTable(path, { columns: [...new Set(wanted)], flat: [idColumn, column] })) {
    for (let i = 0; i < rows; i++) {
      row++;
      if (sourceColumn !== undefined && columns[sourceColumn]![i] !== source) continue;
      // What was rejected with more knowledge than there is here, of the examples in the prompt for instance, stays out.
      const rejected = flagsColumn !== undefined && String(columns[flagsColumn]![i]).includes("rejected:");
      yield { row, id: String(columns[idColumn]![i] ?? ""), text: rejected ? "" : String(columns[column]![i] ?? "") };
    }
  }
}
