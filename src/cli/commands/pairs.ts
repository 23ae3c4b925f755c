/**
 * `laclip pairs`: the examples that teach a language model how to rewrite, looked at, generated, drawn from COCO, brought in and out.
 */
import { existsSync } from "node:fs";
import { Command } from "commander";
import {
  chooseSources,
  cocoPairs,
  exportPairs,
  generatePairs,
  importPairs,
  instructionStyles,
  isPairsTable,
  knownSources,
  openCaptions,
  readPairsFile,
  requireWritable,
  writeSource,
} from "../../rewriting/index.ts";
import type { GeneratedPairs, PairSource, RecordedSource } from "../../rewriting/index.ts";
import { UsageError, beginningOf, log, refuseToReplace, writeFileAtomic } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseWhole } from "../options.ts";
import { createdWith } from "../version.ts";
import { addEngineOptions, engineOf } from "./rewrite-options.ts";
import type { EngineOptions } from "./rewrite-options.ts";

export function pairsCommand(): Command {
  // Without it, `--json` after a subcommand would be taken for this command's own.
  const built = new Command("pairs").enablePositionalOptions();
  for (const add of [showCommand, generateCommand, fromCocoCommand, importCommand, exportCommand]) built.addCommand(add());
  return examples(
    built,
    "laclip pairs show",
    "laclip pairs generate captions.csv --llm http://localhost:8000/v1 --name vivid --out pairs.json",
    "laclip pairs from-coco captions_train2017.json --name coco --out pairs.json",
    "laclip pairs import written.csv --name human --author 'our team' --out pairs.json",
  );
}

function showCommand(): Command {
  const built = command("show", "the sources of example pairs, or the examples of one and where they come from")
    .argument("[source]", "name of a source, or a pairs file (default: list all sources)")
    .option("--pairs <file>", "a pairs file, whose sources are listed too")
    .action((asked: string | undefined, { pairs, json }: { pairs?: string; json?: boolean }) => {
      const sources = sourcesOf(asked, pairs);
      if (asked === undefined) {
        print(json ? sources.map((source) => ({ ...summaryOf(source) })) : sources.map((source) => listLine(source)).join("\n"));
      } else print(json ? sources : sources.map((source) => describe(source)).join("\n\n"));
    });
  return examples(built, "laclip pairs show", "laclip pairs show chatgpt", "laclip pairs show pairs.json --json");
}

interface OutOptions {
  name: string;
  out: string;
  replace?: boolean;
  json?: boolean;
}

/** The flags of all that write a source into a pairs file. */
function addOutOptions(target: Command): Command {
  return target
    .requiredOption("--name <name>", "what the new source is to be called")
    .requiredOption("--out <file>", "the pairs file, new or one that the source is added to")
    .option("--replace", "put the new source in the place of one of the same name");
}

interface GenerateOptions extends OutOptions, EngineOptions {
  style: string;
  count: number;
  seed: number;
  captionColumn?: string;
}

function generateCommand(): Command {
  const built = command("generate", "a chat model rewrites captions of your own data by an instruction")
    .argument("<captions>", "the captions to draw from, as for laclip rewrite")
    .option("--style <style>", `${Object.keys(instructionStyles).join(", ")}, or an instruction in your own words`, "chatgpt")
    .option("--count <number>", "how many pairs", parseWhole(1), 16)
    .option("--seed <number>", "decides the captions and the sampling", parseWhole(0), 0)
    .option("--caption-column <name>", "column with the captions (default: caption, title or text)");
  addOutOptions(built);
  addEngineOptions(built).action(async (captions: string, options: GenerateOptions) => await generate(captions, options));
  return examples(
    built,
    "laclip pairs generate captions.csv --llm http://localhost:8000/v1 --style bard --name vivid --out pairs.json",
    "laclip pairs generate captions.csv --llm http://localhost:8000/v1 --style 'Say this like a poet: {caption}' --name poet --out pairs.json",
  );
}

async function generate(path: string, options: GenerateOptions): Promise<void> {
  const { llm, name, out, style, count, seed } = options;
  requireWritable(out, name, options);
  if (llm === undefined) throw new UsageError("No chat model was named.", { mend: "Name one: --llm http://host:port/v1, or a GGUF file." });
  const engine = engineOf(llm, options);
  let made: GeneratedPairs;
  try {
    const captions = await openCaptions(path, options);
    const signal = interruptSignal("nothing is written");
    log.info(`drawing captions from ${captions.path}`);
    made = await generatePairs({ captions, engine, name, style, count, seed, createdWith, signal });
  } finally {
    await engine.close();
  }
  const { asked, refused } = made;
  for (const [reason, times] of Object.entries(refused)) log.info(`  refused ${times}: ${reason}`);
  keep(made.source, options, { asked, refused });
}

interface CocoOptions extends OutOptions {
  count: number;
  seed: number;
}

function fromCocoCommand(): Command {
  const built = command("from-coco", "groups of five captions of one image from a COCO annotation file")
    .argument("<annotations>", "captions_train2017.json or its like")
    .option("--count <number>", "how many images", parseWhole(1), 16)
    .option("--seed <number>", "decides the images", parseWhole(0), 0);
  addOutOptions(built).action(async (path: string, options: CocoOptions) => {
    const { name, count, seed, out } = options;
    requireWritable(out, name, options);
    keep(await cocoPairs(path, { name, count, seed, createdWith }), options);
  });
  return examples(built, "laclip pairs from-coco captions_train2017.json --name coco --out pairs.json");
}

function importCommand(): Command {
  const built = command("import", "pairs that people wrote, from a table")
    .argument("<table>", "csv, tsv, jsonl or parquet with columns input and output (and second), or group and caption")
    .requiredOption("--author <names>", "who wrote them; kept with the pairs and with all rewrites made with them");
  addOutOptions(built).action(async (path: string, options: OutOptions & { author: string }) => {
    const { name, author, out } = options;
    requireWritable(out, name, options);
    keep(await importPairs(path, { name, author, createdWith }), options);
  });
  return examples(built, "laclip pairs import written.csv --name human --author 'our team' --out pairs.json");
}

function exportCommand(): Command {
  const built = command("export", "the examples of a source as a table")
    .argument("<source>", "name of a source, or a pairs file")
    .requiredOption("--to <form>", "csv or jsonl")
    .option("--pairs <file>", "a pairs file in which the source is looked for, too")
    .option("--source <name>", "which source of a pairs file that has several")
    .option("--out <file>", "file to write (default: standard output)")
    .action(async (asked: string, options: { to: string; pairs?: string; source?: string; out?: string; json?: boolean }) => {
      const { to, pairs, out, json } = options;
      if (to !== "csv" && to !== "jsonl") throw new UsageError(`--to ${to}: there is no such form.`, { mend: "Choose csv or jsonl." });
      const source = oneOf(sourcesOf(asked, pairs), asked, options.source);
      const table = exportPairs(source, to);
      if (out === undefined) return void process.stdout.write(table);
      const inputs = pairs === undefined ? [asked] : [asked, pairs];
      await refuseToReplace(out, { inputs, isEarlier: (path) => isPairsTable(beginningOf(path), to) });
      writeFileAtomic(out, table);
      const { count, kind } = summaryOf(source);
      if (json) print({ out, name: source.name, count, kind });
      else log.info(`${count} ${kind} of ${source.name} written to ${out}`);
    });
  return examples(built, "laclip pairs export human --to csv > pairs.csv", "laclip pairs export pairs.json --source vivid --to jsonl");
}

/** Writes a new source and says so. */
function keep(source: Omit<RecordedSource, "provenance">, options: OutOptions, more: object = {}): void {
  const { name, out, json } = options;
  writeSource(out, source, options);
  const { count, kind } = summaryOf({ ...source, provenance: "" });
  if (json) return print({ out, name, count, kind, ...more });
  log.info(`${count} ${kind} written to ${out} as source "${name}"`);
  log.info(
    `Look at them with \`laclip pairs show ${name} --pairs ${out}\`; use them with \`laclip rewrite ... --pairs ${out} --sources ${name}\`.`,
  );
}

/** The sources that an argument means: those of a file, the one of a name, or all. */
function sourcesOf(asked: string | undefined, pairs: string | undefined): RecordedSource[] {
  const extra = pairs === undefined ? [] : readPairsFile(pairs);
  if (asked === undefined) return [...extra, ...knownSources];
  const isName = [...extra, ...knownSources].some(({ name }) => name === asked);
  // A rewrites folder may well be called like a source.
  if (!isName && (/\.json$/i.test(asked) || existsSync(asked))) return readPairsFile(asked);
  return chooseSources([asked], extra);
}

function oneOf(sources: readonly RecordedSource[], asked: string, name: string | undefined): RecordedSource {
  const chosen = name === undefined ? sources : sources.filter((source) => source.name === name);
  if (chosen.length === 1) return chosen[0]!;
  throw new UsageError(`${asked} has ${name === undefined ? `${sources.length} sources` : `no source named "${name}"`}.`, {
    mend: `Choose one with --source: ${sources.map((source) => source.name).join(", ")}.`,
  });
}

interface SourceSummary {
  name: string;
  count: number;
  kind: "pairs" | "groups" | "triples";
  provenance: string;
  record?: RecordedSource["record"];
}

function summaryOf({ name, provenance, record, pairs, groups, triples }: RecordedSource): SourceSummary {
  const kind = groups ? "groups" : triples ? "triples" : "pairs";
  return { name, count: (groups ?? triples ?? pairs)!.length, kind, provenance, ...(record ? { record } : {}) };
}

function listLine(source: RecordedSource): string {
  const { name, count, kind, provenance } = summaryOf(source);
  return `${name.padEnd(12)} ${`${count} ${kind}`.padEnd(11)} ${provenance}`;
}

function describe(source: PairSource): string {
  const { name, provenance, pairs = [], groups = [], triples = [] } = source;
  return [
    `${name}: ${provenance}`,
    ...pairs.map(([input, output]) => `\n${input}\n  => ${output}`),
    ...triples.map(([input, second, output]) => `\n${input}\n  + ${second}\n  => ${output}`),
    ...groups.map((group) => `\n${group.join("\n")}`),
  ].join("\n");
}
