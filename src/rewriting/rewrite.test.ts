import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { InterruptedError } from "../support/index.ts";
import { openCaptions } from "./captions/captions-input.ts";
import { EdaEngine } from "./engines/eda.ts";
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
