/**
 * Rewriting through an OpenAI-compatible server on loopback: what is sent, what happens when it fails, and what a kill leaves behind.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openRewritesFolder } from "../../src/data/index.ts";
import { OpenAiCompatibleEngine, chooseSources, openCaptions, rewriteCaptions, rewritesStatistics } from "../../src/rewriting/index.ts";
import type { OpenAiCompatibleOptions, RewriteOptions, RewriteSummary } from "../../src/rewriting/index.ts";
import { DataError, EndpointError, UsageError, sha256 } from "../../src/support/index.ts";
import { type Ended, startLaclip } from "./laclip.ts";
import { type Answer, type ServedModel, withModelServer } from "./model-server.ts";
import { rewritesIn } from "./rewrites-in.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-server-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const place = (name = ""): string => join(folder, `${files++}-${name}`);

interface Asked {
  prompt: string;
  seed: number;
  model?: string;
  [key: string]: unknown;
}

interface Stub {
  url: string;
  /** Bodies of all completion requests. */
  asked: Asked[];
  headers: IncomingHttpHeaders[];
  /** The most completion requests that were open at once. */
  atOnce: number;
}

type Handler = (request: { asked: Asked; number: number; response: ServerResponse }) => boolean | Promise<boolean>;

/** What the stub writes: a function of prompt and seed alone, as of a model with a seed. */
const written = ({ prompt, seed }: Asked): string =>
  ` rewritten words ${sha256(`${prompt}|${seed}`).slice(0, 12)}\n\n            more => lines`;

/** A server that answers like one; `handle` may answer differently and then returns true. */
async function withServer<T>(
  handle: Handler,
  work: (stub: Stub) => Promise<T>,
  models: readonly ServedModel[] = [{ id: "tiny", owned_by: "llamacpp" }],
): Promise<T> {
  const stub: Stub = { url: "", asked: [], headers: [], atOnce: 0 };
  let open = 0;
  const answer: Answer<Asked> = async ({ body, headers, response }) => {
    stub.atOnce = Math.max(stub.atOnce, ++open);
    response.once("close", () => open--);
    stub.headers.push(headers);
    const number = stub.asked.push(body);
    return (await handle({ asked: body, number, response })) ? undefined : written(body);
  };
  return await withModelServer(
    answer,
    async (url) => {
      stub.url = url;
      return await work(stub);
    },
    models,
  );
}

const normal: Handler = () => false;
const slow: Handler = async () => {
  await new Promise((resolve) => setTimeout(resolve, 4));
  return false;
};
const quick = { pauseSeconds: 0.01, timeoutSeconds: 5 };
const captionsFile = (count: number): string => {
  const path = place("captions.csv");
  writeFileSync(path, `id,caption\n${Array.from({ length: count }, (_, i) => `id-${i},caption number ${i}`).join("\n")}\n`);
  return path;
};

async function rewriteWith(
  captions: string,
  engine: OpenAiCompatibleOptions,
  change: Partial<RewriteOptions> = {},
): Promise<RewriteSummary> {
  const client = new OpenAiCompatibleEngine({ ...quick, ...engine });
  try {
    return await rewriteCaptions({
      captions: await openCaptions(captions),
      out: place("out"),
      engine: client,
      sources: chooseSources(["chatgpt", "mscoco"]),
      seed: 1,
      createdWith: "test",
      ...change,
    });
  } finally {
    await client.close();
  }
}

test("each caption is asked for once per source, with the paper's sampling and its own seed", async () => {
  await withServer(slow, async (stub) => {
    const captions = captionsFile(20);
    const summary = await rewriteWith(captions, { url: `${stub.url}/`, concurrency: 4, apiKey: "secret" });
    assert.equal(summary.written, 40);
    assert.equal(stub.asked.length, 40);
    assert.ok(stub.atOnce <= 4 && stub.atOnce >= 2, `${stub.atOnce} at once`);
    assert.equal(new Set(stub.asked.map(({ seed }) => seed)).size, 40);
    const { prompt, seed, ...rest } = stub.asked[0]!;
    assert.match(prompt, /^Rewrite the following image descriptions:\n\S.* => .*\n.* => .*\n.* => .*\ncaption number \d+ =>$/);
    assert.ok(Number.isInteger(seed));
    assert.deepEqual(rest, {
      model: "tiny",
      max_tokens: 77,
      temperature: 0.9,
      top_p: 0.95,
      stop: ["\n"],
      samplers: ["temperature", "top_p"],
      cache_prompt: true,
    });
    assert.equal(stub.headers[0]!.authorization, "Bearer secret");
    for (const row of await rewritesIn(summary.out)) {
      assert.match(row.text, /^rewritten words [0-9a-f]{12}$/);
      assert.deepEqual([row.finish, row.tokens, row.examples.length], ["stop", 9, 3]);
    }
  });
});

test("captions with arrows, line breaks, nothing and 10,000 characters are asked for in one safe line, or not at all", async () => {
  await withServer(normal, async (stub) => {
    const captions = place("odd.jsonl");
    const odd = ["a => b", "two\nlines\r\nand\ttab", "", "long ".repeat(2000), "nul\u0000 and \u2028"];
    writeFileSync(captions, odd.map((caption, i) => `${JSON.stringify({ id: String(i), caption })}\n`).join(""));
    const summary = await rewriteWith(captions, { url: stub.url }, { sources: chooseSources(["human"]) });
    assert.deepEqual([summary.written, summary.emptyCaptions], [4, 1]);
    const queries = stub.asked.map(({ prompt }) => prompt.split("\n").at(-1)!);
    for (const { prompt } of stub.asked) assert.equal(prompt.split("=>").length, 5);
    assert.ok(queries.includes("a -> b =>"));
    assert.ok(queries.includes("two lines and tab =>"));
    assert.ok(queries.every((query) => query.length <= 403));
    const long = (await rewritesIn(summary.out)).find(({ id }) => id === "3")!;
    assert.ok(long.flags.includes("caption-shortened"));
  });
});

test("busy and broken answers are tried again, Retry-After is kept to, and nothing is lost", async () => {
  let waited = 0;
  let refusedAt = 0;
  const handle: Handler = ({ number, response }) => {
    if (number === 1) {
      refusedAt = performance.now();
      response.writeHead(429, { "retry-after": "1" }).end('{"error":{"message":"slow down"}}');
    } else if (number === 2) {
      waited = performance.now() - refusedAt;
      response.writeHead(500).end("<html>oops</html>");
    } else if (number === 3) response.writeHead(200).end("not json");
    else if (number === 4) response.writeHead(200).end('{"choices":[]}');
    else return false;
    return true;
  };
  await withServer(handle, async ({ url, asked }) => {
    const summary = await rewriteWith(captionsFile(1), { url, concurrency: 1 }, { sources: chooseSources(["bard"]) });
    assert.deepEqual([summary.written, summary.failed, asked.length], [1, 0, 5]);
    assert.ok(waited >= 990, `asked again after ${waited} ms`);
  });
});

test("a server that keeps failing ends the run with its own words, and what was done is kept", async () => {
  const handle: Handler = ({ asked, response }) => {
    if (!asked.prompt.endsWith("number 7 =>")) return false;
    response.writeHead(503).end('{"error":{"message":"model is melting"}}');
    return true;
  };
  await withServer(handle, async ({ url }) => {
    const captions = captionsFile(20);
    const out = place("out");
    const failing = rewriteWith(captions, { url, concurrency: 2, tries: 2 }, { out, sources: chooseSources(["bard"]), maximumFailed: 0 });
    await assert.rejects(
      failing,
      (error) =>
        error instanceof EndpointError &&
        /1 of 20 rewrites failed.*after 2 tries: the server answered 503: model is melting/.test(error.message),
    );
    const before = (await rewritesIn(out)).length;
    const tolerant = await rewriteWith(captions, { url, tries: 2 }, { out, sources: chooseSources(["bard"]) });
    assert.deepEqual([tolerant.kept, tolerant.written, tolerant.failed], [before, 19 - before, 1]);
    await withServer(normal, async (healthy) => {
      const mended = await rewriteWith(captions, { url: healthy.url }, { out, sources: chooseSources(["bard"]) });
      assert.deepEqual([mended.kept, mended.written, mended.failed, healthy.asked.length], [19, 1, 0, 1]);
    });
  });
});

test("no server, a hanging one, a refused key and a choice of models are told apart", async () => {
  const captions = captionsFile(2);
  const port = await withServer(normal, async ({ url }) => await Promise.resolve(url));
  await assert.rejects(
    rewriteWith(captions, { url: port, tries: 2 }),
    (error) => error instanceof EndpointError && /nothing listens there/.test(error.message),
  );
  await withServer(
    () => true,
    async ({ url }) => await assert.rejects(rewriteWith(captions, { url, tries: 1, timeoutSeconds: 0.3 }), /no answer within 0\.3 s/),
  );
  const refusing: Handler = ({ response }) => {
    response.writeHead(401).end('{"error":{"message":"bad key"}}');
    return true;
  };
  await withServer(refusing, async ({ url, asked }) => {
    await assert.rejects(
      rewriteWith(captions, { url, concurrency: 1 }),
      (error) => error instanceof EndpointError && /401: bad key/.test(error.message) && /LACLIP_API_KEY/.test(error.mend ?? ""),
    );
    assert.equal(asked.length, 1);
  });
  const two = [{ id: "one" }, { id: "two" }];
  await withServer(
    normal,
    async ({ url }) =>
      await assert.rejects(rewriteWith(captions, { url }), (error) => error instanceof UsageError && /one, two/.test(error.message)),
    two,
  );
  await withServer(
    normal,
    async ({ url, asked }) => {
      await rewriteWith(captions, { url, model: "two" });
      assert.equal(asked[0]!.model, "two");
      assert.ok(!("samplers" in asked[0]!));
    },
    two,
  );
});

test("a request that is too long for the server fails alone", async () => {
  const handle: Handler = ({ asked, response }) => {
    if (!asked.prompt.endsWith("number 3 =>")) return false;
    response.writeHead(400).end('{"error":{"message":"context too long"}}');
    return true;
  };
  await withServer(handle, async ({ url, asked }) => {
    const summary = await rewriteWith(captionsFile(10), { url });
    assert.deepEqual([summary.written, summary.failed, asked.length], [18, 2, 20]);
  });
});

/** Runs the command line against a server until `until` says so, then sends `signal`. */
async function runCommand(
  args: readonly string[],
  { until, signal }: { until?: () => boolean; signal?: NodeJS.Signals } = {},
): Promise<Ended> {
  const { child, ended } = startLaclip(["rewrite", ...args]);
  const watch =
    until &&
    setInterval(() => {
      if (!until()) return;
      child.kill(signal);
      clearInterval(watch);
    }, 2);
  try {
    return await ended;
  } finally {
    clearInterval(watch);
  }
}

test("killed in the middle, several times, and started again, it ends with what an undisturbed run writes", async () => {
  await withServer(slow, async (stub) => {
    const captions = captionsFile(150);
    const command = (out: string): string[] => [
      captions,
      "--out",
      out,
      "--llm",
      stub.url,
      "--sources",
      "chatgpt,mscoco",
      "--seed",
      "3",
      "--concurrency",
      "8",
      "--json",
    ];
    const whole = place("whole");
    const undisturbed = await runCommand(command(whole));
    assert.equal(undisturbed.code, 0, undisturbed.stderr);
    assert.equal((JSON.parse(undisturbed.stdout) as RewriteSummary).written, 300);
    const out = place("killed");
    let answered = stub.asked.length;
    let killed = 0;
    for (const after of [40, 70, 90]) {
      const goal = answered + after;
      const run = await runCommand(command(out), { until: () => stub.asked.length >= goal, signal: "SIGKILL" });
      assert.equal(run.code, null, "it ended before it was killed");
      killed++;
      answered = stub.asked.length;
    }
    const partial = await rewritesIn(out);
    assert.ok(partial.length > 0 && partial.length < 300);
    const last = await runCommand(command(out));
    assert.equal(last.code, 0, last.stderr);
    const summary = JSON.parse(last.stdout) as RewriteSummary;
    assert.deepEqual([summary.kept, summary.written], [partial.length, 300 - partial.length]);
    assert.deepEqual(await rewritesIn(out), await rewritesIn(whole));
    assert.deepEqual(readdirSync(join(out, "log")), []);
    // Each kill loses what was in flight, and what was answered in the same turn of the event loop: at most twice 8 requests.
    assert.ok(stub.asked.length <= 600 + killed * 16, `${stub.asked.length} requests for 600 rewrites and ${killed} kills`);
    const statistics = await rewritesStatistics(await openRewritesFolder(out));
    assert.deepEqual(
      statistics.sources.map(({ rewrites, missing }) => [rewrites, missing]),
      [
        [150, 0],
        [150, 0],
      ],
    );
  });
});

test("several servers share the work, named in one flag or in several", async () => {
  await withServer(slow, async (one) => {
    await withServer(slow, async (other) => {
      const captions = captionsFile(60);
      for (const flags of [
        ["--llm", `${one.url},${other.url}`],
        ["--llm", one.url, "--llm", other.url, "--patience", "5"],
      ]) {
        const before = [one.asked.length, other.asked.length] as const;
        const run = await runCommand([captions, "--out", place("out"), ...flags, "--sources", "bard", "--concurrency", "4", "--json"]);
        assert.equal(run.code, 0, run.stderr);
        assert.equal((JSON.parse(run.stdout) as RewriteSummary).written, 60);
        const shares = [one.asked.length - before[0], other.asked.length - before[1]];
        assert.ok(
          shares.every((share) => share >= 10),
          `the servers wrote ${shares.join(" and ")} of 60`,
        );
      }
    });
  });
});

test("Ctrl-C saves, ends with exit code 75 and says how to go on; other settings are refused", async () => {
  await withServer(slow, async (stub) => {
    const captions = captionsFile(150);
    const out = place("interrupted");
    const command = [captions, "--out", out, "--llm", stub.url, "--sources", "bard", "--concurrency", "4"];
    const stopped = await runCommand(command, { until: () => stub.asked.length >= 50, signal: "SIGINT" });
    assert.equal(stopped.code, 75, stopped.stderr);
    assert.match(stopped.stderr, /new rewrites are saved/);
    assert.ok(!existsSync(join(out, "lock")));
    const saved = (await rewritesIn(out)).length;
    assert.ok(saved >= 40 && saved < 150, `${saved} saved`);

    const seed = await runCommand([...command, "--seed", "9"]);
    assert.equal(seed.code, 3);
    assert.match(seed.stderr, /seed: "0" there, "9" now/);
    const pairs = place("pairs.json");
    writeFileSync(
      pairs,
      JSON.stringify({ name: "bard", pairs: [1, 2, 3, 4].map((n) => ({ input: `input ${n}`, output: `output ${n}` })) }),
    );
    assert.match((await runCommand([...command, "--pairs", pairs])).stderr, /prompt or example pairs/);
    writeFileSync(captions, `${readFileSync(captions, "utf8")}id-new,one more\n`);
    assert.match((await runCommand(command)).stderr, /belong to another data set/);
    writeFileSync(captions, readFileSync(captions, "utf8").replace("id-new,one more\n", ""));

    const finished = await runCommand(command);
    assert.equal(finished.code, 0, finished.stderr);
    assert.equal((await rewritesIn(out)).length, 150);
    const again = await runCommand(command);
    assert.match(again.stderr, /0 rewrites written.*150 were there already/);
  });
});

test("--limit rewrites the first captions only, and more of them later", async () => {
  await withServer(normal, async ({ url }) => {
    const captions = captionsFile(30);
    const out = place("limited");
    const few = await rewriteWith(captions, { url }, { out, limit: 5, sources: chooseSources(["bard"]) });
    assert.equal(few.written, 5);
    assert.deepEqual(
      (await rewritesIn(out)).map(({ id }) => id),
      [0, 1, 2, 3, 4].map((i) => `id-${i}`),
    );
    const more = await rewriteWith(captions, { url }, { out, sources: chooseSources(["bard", "human"]) });
    assert.deepEqual([more.kept, more.written], [5, 55]);
    await assert.rejects(rewriteWith(place("none.csv"), { url }), DataError);
  });
});
