/** A dry run: a sample that the seed decides, measured as it went, and nothing left behind. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { InterruptedError, setLogLevel } from "../support/index.ts";
import { BackTranslationEngine, chooseSources, estimateRewriting, openCaptions, ungrouped } from "./index.ts";
import type { EstimateOptions, Outcome, RewriteEngine, RewriteGroup } from "./index.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-estimate-"));
after(() => rmSync(folder, { recursive: true }));
// A folder of its own for what is temporary: in the machine's, another test may be at its own dry run.
process.env["TMPDIR"] = folder;
const captions = join(folder, "captions.csv");
writeFileSync(
  captions,
  `id,caption\n${Array.from({ length: 500 }, (_, i) => `id-${i},a photo of dog ${i} on the grass\n`).join("")}empty,\n`,
);

/** Takes a while for each caption; every other first answer for the second source is one that is rejected. */
class Writer implements RewriteEngine {
  readonly name = "writer";
  readonly usesExamples = true;
  readonly seen = new Map<string, number>();
  countsPrompts = true;
  describe: RewriteEngine["describe"] = async () => ({ model: "writer", modelHash: "", sampling: {} });
  async *rewrite(groups: AsyncIterable<RewriteGroup>): AsyncGenerator<Outcome> {
    for await (const request of ungrouped(groups)) {
      const name = `${request.source} ${request.id}`;
      const times = (this.seen.get(name) ?? 0) + 1;
      this.seen.set(name, times);
      const bad = request.source === "human" && times % 2 === 1;
      await new Promise((resolve) => setTimeout(resolve, 2));
      const text = bad ? " x" : ` a picture of the dog ${request.id} on grass`;
      yield { request, text, finish: "stop", tokens: 20, ...(this.countsPrompts ? { promptTokens: 100 } : {}) };
    }
  }
  close: RewriteEngine["close"] = async () => {};
}

async function estimate(engine: RewriteEngine, change: Partial<EstimateOptions> = {}): ReturnType<typeof estimateRewriting> {
  const sources = chooseSources(["chatgpt", "human"]);
  return await estimateRewriting({ captions: await openCaptions(captions), engine, sources, seed: 1, createdWith: "test", ...change });
}

const temporary = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("laclip-dry-run-"));

test("time, tokens and cost follow from the sample, source by source", async () => {
  const before = temporary();
  const engine = new Writer();
  const found = await estimate(engine, { sample: 20, retries: 1, priceIn: 10, priceOut: 100 });
  assert.deepEqual([found.captions, found.sample, found.model, found.promptTokensGuessed], [500, 20, "writer", false]);
  const [chatgpt, human] = found.sources;
  assert.deepEqual([chatgpt!.requests, chatgpt!.promptTokens, chatgpt!.tokens, chatgpt!.usable], [1, 100, 20, 1]);
  // Asked for twice wherever the first answer was rejected. The caption that warmed the model up has had its bad answer by then.
  assert.ok(human!.requests > 1.8 && human!.requests <= 2);
  assert.ok(Math.abs(chatgpt!.cost! - (500 * (100 * 10 + 20 * 100)) / 1e6) < 1e-9);
  assert.ok(Math.abs(found.cost! - (chatgpt!.cost! + human!.cost!)) < 1e-9);
  for (const { rate, seconds } of found.sources) assert.ok(rate > 0 && Math.abs(seconds - 500 / rate) < 1e-6);
  assert.deepEqual(temporary(), before);
});

test("an engine that writes several sources of its own is asked for each of them, both ways of a translation counted", async () => {
  const engine = new BackTranslationEngine(new Writer(), ["German", "French"]);
  const { sources, promptTokensGuessed } = await estimate(engine, { sample: 10 });
  assert.deepEqual(
    sources.map(({ source, requests, promptTokens, tokens }) => ({ source, requests, promptTokens, tokens })),
    [{ source: "back-translation-german, back-translation-french", requests: 2, promptTokens: 400, tokens: 80 }],
  );
  assert.equal(promptTokensGuessed, false);
});

test("the seed decides the sample; a shard is sampled within itself; more than there is means all", async () => {
  const drawn = async (change: Partial<EstimateOptions>): Promise<string[]> => {
    const engine = new Writer();
    await estimate(engine, { sample: 10, ...change });
    return [...engine.seen.keys()].filter((name) => name.startsWith("chatgpt")).map((name) => name.slice("chatgpt id-".length));
  };
  const first = await drawn({});
  assert.equal(first.length, 10);
  assert.deepEqual(await drawn({}), first);
  assert.notDeepEqual(await drawn({ seed: 2 }), first);
  const inShard = await drawn({ shard: { number: 2, of: 5 } });
  assert.ok(inShard.every((number) => Number(number) >= 100 && Number(number) < 200));
  assert.equal((await drawn({ limit: 7 })).length, 7);
});

test("where a model does not count the tokens of its prompts, they are guessed, and that is said; a stop keeps nothing", async () => {
  const engine = new Writer();
  engine.countsPrompts = false;
  const before = temporary();
  const { promptTokensGuessed, sources, cost } = await estimate(engine, { sample: 5 });
  assert.ok(promptTokensGuessed && cost === undefined);
  assert.ok(sources[0]!.promptTokens > 30 && sources[0]!.promptTokens < 300);
  await assert.rejects(estimate(engine, { signal: AbortSignal.abort() }), InterruptedError);
  assert.deepEqual(temporary(), before);
});
