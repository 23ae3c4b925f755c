import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { isUsable, openRewritesFolder } from "../data/index.ts";
import { DataError, InterruptedError, setLogLevel } from "../support/index.ts";
import { openCaptions } from "./captions/captions-input.ts";
import { EdaEngine } from "./engines/eda.ts";
import { ungrouped } from "./engines/engine.ts";
import type { EngineDescription, Outcome, RewriteEngine, RewriteGroup } from "./engines/engine.ts";
import { OpenAiCompatibleEngine } from "./engines/openai-compatible.ts";
import { chooseSources } from "./pairs/pairs.ts";
import { rewriteCaptions } from "./rewrite.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-rewrite-"));
after(() => rmSync(folder, { recursive: true }));

const count = 2000;
const captions = join(folder, "captions.csv");
writeFileSync(captions, `id,caption\n${Array.from({ length: count }, (_, i) => `id-${i},a red car on road number ${i}\n`).join("")}`);

test("what an earlier start has written is kept, and does not count towards the rate", async () => {
  const rewrite = async (limit: number): ReturnType<typeof rewriteCaptions> =>
    await rewriteCaptions({
      captions: await openCaptions(captions),
      out: join(folder, "eda"),
      engine: new EdaEngine(),
      sources: [],
      seed: 1,
      limit,
      createdWith: "test",
    });
  assert.equal((await rewrite(count - 1)).written, count - 1);
  const write = mock.method(process.stderr, "write", () => true);
  let said: string;
  let summary;
  try {
    summary = await rewrite(count);
    said = write.mock.calls.map((call) => String(call.arguments[0])).join("");
  } finally {
    write.mock.restore();
  }
  assert.deepEqual([summary.kept, summary.written], [count - 1, 1]);
  const [, done, total, rate] = /(\d+)\/(\d+) rewrites, ([\d.]+)\/s/.exec(said) ?? assert.fail(said);
  assert.deepEqual([Number(done), Number(total)], [count, count]);
  // One rewrite was made in these seconds. Counted with those that were kept, it would seem to be two thousand.
  assert.ok(Number(rate) * summary.seconds < count / 2, `${rate} a second for ${summary.seconds} s`);
});

for (const [name, answer] of [
  ["is silent", () => {}],
  ["asks to wait", (response) => response.writeHead(503, { "retry-after": "300" }).end()],
] as [string, (response: import("node:http").ServerResponse) => void][]) {
  test(`a server that ${name} when asked for its models does not hold up an interruption`, async () => {
    const stop = new AbortController();
    const server = createServer((_, response) => {
      answer(response);
      setTimeout(() => stop.abort(), 50);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
    const engine = new OpenAiCompatibleEngine({ url, timeoutSeconds: 300 });
    try {
      const work = rewriteCaptions({
        captions: await openCaptions(captions),
        out: join(folder, "server"),
        engine,
        sources: chooseSources(["chatgpt"]),
        seed: 1,
        createdWith: "test",
        signal: stop.signal,
      });
      await assert.rejects(work, InterruptedError);
      // Stopped before it began: not one request goes out.
      await assert.rejects(engine.describe(stop.signal), /stopped/);
    } finally {
      await engine.close();
      server.closeAllConnections();
      server.close();
    }
  });
}

/** Answers all requests but those whose caption is one that `fails`. */
class FailingEngine implements RewriteEngine {
  readonly name = "failing";
  readonly usesExamples = true;
  readonly asked: string[] = [];

  constructor(private readonly fails: (caption: string) => boolean) {}

  async describe(): Promise<EngineDescription> {
    return await Promise.resolve({ model: "failing", modelHash: "", sampling: {} });
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>): AsyncGenerator<Outcome> {
    for await (const request of ungrouped(groups)) {
      this.asked.push(request.caption);
      if (this.fails(request.caption)) yield { request, error: new DataError("too long") };
      else yield { request, text: ` other words for ${request.caption}`, finish: "stop", tokens: 5 };
    }
  }

  async close(): Promise<void> {}
}

async function rewriteWith(
  engine: RewriteEngine,
  name: string,
  texts: readonly string[],
  options: { maximumFailed?: number; onProgress?: (done: number, planned: number) => void } = {},
): ReturnType<typeof rewriteCaptions> {
  const path = join(folder, `${name}.csv`);
  writeFileSync(path, `id,caption\n${texts.map((text, i) => `${i},"${text}"\n`).join("")}`);
  return await rewriteCaptions({
    captions: await openCaptions(path),
    out: join(folder, name),
    engine,
    sources: chooseSources(["bard"]),
    seed: 1,
    createdWith: "test",
    ...options,
  });
}

test("a few failures end no run, but too many, all of them, and any where none may fail, do", async () => {
  setLogLevel("quiet");
  const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `a dog number ${i + 100}`);
  const failing = (most: number): RewriteEngine => new FailingEngine((caption) => Number(/\d+/.exec(caption)![0]) < 100 + most);
  assert.deepEqual((await rewriteWith(failing(10), "few", numbered(40))).failed, 10);
  await assert.rejects(rewriteWith(failing(11), "more", numbered(40)), /11 of 40 rewrites failed \(allowed are 10\)/);
  assert.deepEqual((await rewriteWith(failing(11), "allowed", numbered(40), { maximumFailed: 0.3 })).failed, 11);
  await assert.rejects(rewriteWith(failing(13), "too many", numbered(40), { maximumFailed: 0.29 }), /12 of 40 .*allowed are 29 %/);
  await assert.rejects(rewriteWith(failing(3), "all", numbered(3)), /3 of 3 rewrites failed \(all of them\)/);
  await assert.rejects(rewriteWith(failing(1), "none", numbered(40), { maximumFailed: 0 }), /1 of 40 rewrites failed \(allowed are 0 %\)/);
});

test("a caption of which nothing is left for a prompt is counted as empty, asked of nobody, and done", async () => {
  const engine = new FailingEngine(() => false);
  const told: string[] = [];
  const onProgress = (done: number, planned: number): void => void told.push(`${done}/${planned}`);
  const texts = ["a dog", "<s>", "\u200b\u200e", "  ", "a cat"];
  const summary = await rewriteWith(engine, "blank", texts, { onProgress });
  assert.deepEqual([summary.captions, summary.emptyCaptions, summary.written, summary.rejected], [4, 3, 4, 2]);
  assert.deepEqual(engine.asked.sort(), ["a cat", "a dog"]);
  assert.deepEqual(told, ["0/4", "1/4", "2/4", "3/4", "4/4"]);
  const rows: string[] = [];
  for await (const batch of (await openRewritesFolder(join(folder, "blank"))).read())
    rows.push(...batch.map(({ id, text, flags }) => `${id}: ${isUsable({ flags }) ? text : flags.join(" ")}`));
  assert.deepEqual(rows.sort(), ["0: other words for a dog", "1: rejected:too-short", "2: rejected:too-short", "4: other words for a cat"]);
  const again = await rewriteWith(engine, "blank", texts);
  assert.deepEqual([again.kept, again.written, engine.asked.length], [4, 0, 2]);
});
