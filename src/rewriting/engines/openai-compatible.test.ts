import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { EndpointError, UsageError } from "../../support/index.ts";
import { isFailure } from "./engine.ts";
import type { Outcome, RewriteGroup, RewriteRequest } from "./engine.ts";
import type { PromptForm } from "../prompts/prompt.ts";
import { paperForm } from "../prompts/forms/in-context.ts";
import { OpenAiCompatibleEngine } from "./openai-compatible.ts";
import type { OpenAiCompatibleOptions } from "./openai-compatible.ts";

interface Asked {
  path: string;
  at: number;
  prompt?: string;
  messages?: { role: string; content: string }[];
  [key: string]: unknown;
}

/** Answers a request in another way than usual, and then returns true. */
type Handler = (asked: Asked, response: ServerResponse, number: number) => boolean | Promise<boolean>;

/** A server on loopback that can be killed and started again on its port. */
class Stub {
  readonly asked: Asked[] = [];
  readonly #sockets: Server[] = [];
  #port = 0;

  private constructor(
    private readonly handle: Handler,
    private readonly model: string | null,
  ) {}

  static async start(handle: Handler = () => false, model: string | null = "tiny"): Promise<Stub> {
    const stub = new Stub(handle, model);
    await stub.listen();
    stubs.push(stub);
    return stub;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/v1`;
  }

  async listen(): Promise<void> {
    const server = createServer((request, response) => {
      void (async () => {
        let body = "";
        for await (const chunk of request) body += String(chunk);
        if (request.url === "/v1/models") {
          if (this.model === null) return void response.writeHead(404).end();
          if (this.model === "unlisted") return void response.writeHead(500).end("Internal Server Error");
          return void response.end(JSON.stringify({ data: [{ id: this.model }] }));
        }
        const asked: Asked = { ...(JSON.parse(body) as Partial<Asked>), path: request.url!, at: performance.now() };
        const number = this.asked.push(asked);
        if (await this.handle(asked, response, number)) return;
        const text = ` rewritten ${String(asked["seed"])}`;
        const choice = asked.path.endsWith("/chat/completions") ? { message: { role: "assistant", content: text } } : { text };
        response.end(JSON.stringify({ choices: [{ ...choice, finish_reason: "stop" }] }));
      })().catch(() => response.destroy());
    });
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#port = (server.address() as AddressInfo).port;
    this.#sockets.push(server);
  }

  kill(): void {
    const server = this.#sockets.pop();
    server?.closeAllConnections();
    server?.close();
  }
}

const stubs: Stub[] = [];
after(() => {
  for (const stub of stubs) stub.kill();
});

const wait = async (milliseconds: number): Promise<void> => await new Promise((resolve) => setTimeout(resolve, milliseconds));
const slowly =
  (milliseconds: number): Handler =>
  async () => {
    await wait(milliseconds);
    return false;
  };

/** Groups with the same examples. */
function groups(count: number, size: number, form: PromptForm = paperForm): RewriteGroup[] {
  return Array.from({ length: count }, (_, group) => {
    const examples = [{ id: `${group}`, input: `input of group ${group}`, output: `output of group ${group}` }];
    return Array.from({ length: size }, (_unused, i): RewriteRequest => {
      const caption = `caption ${group}-${i}`;
      return { id: `${group}-${i}`, source: "test", original: caption, caption, shortened: false, examples, form, seed: group * size + i };
    });
  });
}

const groupOf = (asked: Asked): string => /input of group (\d+)/.exec(asked.prompt ?? "")![1]!;

interface Run {
  outcomes: Outcome[];
  failures: Outcome[];
}

/** Runs an engine over groups; every request must get exactly one outcome. */
async function work(
  servers: readonly Stub[],
  asked: readonly RewriteGroup[],
  options: Partial<OpenAiCompatibleOptions> = {},
  signal = new AbortController().signal,
): Promise<Run> {
  const engine = new OpenAiCompatibleEngine({
    url: servers.map(({ url }) => url),
    pauseSeconds: 0.02,
    timeoutSeconds: 5,
    patienceSeconds: 30,
    concurrency: 8,
    ...options,
  });
  try {
    const outcomes: Outcome[] = [];
    const source = (async function* (): AsyncGenerator<RewriteGroup> {
      yield* asked;
    })();
    for await (const outcome of engine.rewrite(source, signal)) outcomes.push(outcome);
    const ids = new Set(outcomes.map(({ request }) => request.id));
    assert.equal(ids.size, outcomes.length, "a request has two outcomes");
    if (!signal.aborted) assert.equal(ids.size, asked.flat().length, "a request has no outcome");
    for (const outcome of outcomes)
      if (!isFailure(outcome)) assert.equal(outcome.text.trim(), `rewritten ${outcome.request.seed}`, "an answer went to another request");
    return { outcomes, failures: outcomes.filter(isFailure) };
  } finally {
    await engine.close();
  }
}

test("prompts that begin alike go to the same server, and all servers get their share", async () => {
  const servers = [await Stub.start(slowly(2)), await Stub.start(slowly(2)), await Stub.start(slowly(2))];
  const { failures } = await work(servers, groups(180, 2), { concurrency: 256 });
  assert.deepEqual(failures, []);
  const seen = servers.map(({ asked }) => new Set(asked.map(groupOf)));
  assert.equal(
    seen.reduce((sum, { size }) => sum + size, 0),
    180,
    "a group was spread over several servers",
  );
  // Which groups are whose follows from the servers' ports, which are others each time: 60 are expected, of deviation 6.
  for (const { size } of seen) assert.ok(size >= 24, `one server got ${size} of 180 groups`);
});

test("a full window spills over to the next server", async () => {
  const servers = [await Stub.start(slowly(3)), await Stub.start(slowly(3))];
  const { failures } = await work(servers, groups(1, 120), { concurrency: 4 });
  assert.deepEqual(failures, []);
  for (const { asked } of servers) assert.ok(asked.length >= 30, `one server got ${asked.length} of 120 requests`);
});

test("a server that is killed and started again loses nothing, and is asked again", async () => {
  const steady = await Stub.start(slowly(4));
  const mortal = await Stub.start(async (_, response, number) => {
    await wait(4);
    if (number !== 40) return false;
    mortal.kill();
    response.destroy();
    setTimeout(() => void mortal.listen(), 150);
    return true;
  });
  const { failures } = await work([steady, mortal], groups(400, 2), { concurrency: 4 });
  assert.deepEqual(failures, []);
  assert.ok(mortal.asked.length > 60, `only ${mortal.asked.length} requests reached the server that came back`);
});

test("a slow server gets few requests, a fast one the others", async () => {
  const [fast, slow] = [await Stub.start(slowly(2)), await Stub.start(slowly(150))];
  const { failures } = await work([fast, slow], groups(200, 2));
  assert.deepEqual(failures, []);
  assert.ok(slow.asked.length < 60, `the slow server got ${slow.asked.length} of 400 requests`);
  assert.ok(slow.asked.length > 0);
});

test("a server that hangs holds up nothing but what it was asked", async () => {
  const [fast, hanging] = [await Stub.start(slowly(2)), await Stub.start(() => true)];
  const { failures } = await work([fast, hanging], groups(100, 2), { timeoutSeconds: 1 });
  assert.deepEqual(failures, []);
  assert.ok(hanging.asked.length <= 40, `the hanging server was asked ${hanging.asked.length} times`);
});

test("429 with Retry-After rests that server alone", async () => {
  for (const seconds of [1, 1000]) {
    const resting = await Stub.start((_, response, number) => {
      if (number !== 1) return false;
      response.writeHead(429, { "retry-after": String(seconds) }).end();
      return true;
    });
    const other = await Stub.start(slowly(5));
    const { failures } = await work([resting, other], groups(250, 2), { concurrency: 2 });
    assert.deepEqual(failures, []);
    // What was under way when the answer came, one beside it, is not called back.
    const [first, , ...later] = resting.asked;
    for (const { at } of later) assert.ok(at - first!.at >= 1000 * seconds - 10, `asked again after ${at - first!.at} ms`);
    if (seconds === 1000) assert.ok(other.asked.length >= 498, `the other was asked ${other.asked.length} of 500 times`);
  }
});

test("a server that only ever asks for patience is told of, and ends all requests together when patience ends", async (t) => {
  for (const headers of [{}, { "retry-after": "0" }, { "retry-after": "100" }]) {
    const busy = await Stub.start((_, response) => {
      response.writeHead(429, headers).end('{"error":{"message":"later"}}');
      return true;
    });
    const said: string[] = [];
    const { mock } = t.mock.method(process.stderr, "write", (text: string) => said.push(text) > 0);
    // One at a time: each would else wait as long as all together.
    const failing = work([busy], groups(30, 1), { patienceSeconds: 0.5, concurrency: 1 });
    await assert.rejects(failing, (error) => error instanceof EndpointError && /no usable answer for .*429: later/.test(error.message));
    mock.restore();
    assert.ok(busy.asked.length < 60, `it was asked ${busy.asked.length} times in half a second`);
    assert.equal(said.join("").match(/429: later; it asks/g)?.length, 1, said.join(""));
    assert.doesNotMatch(said.join(""), /fewer/, "there is nothing fewer than one at a time");
  }
});

test("nonsense counts as a failed try and is asked for elsewhere: HTML, half a JSON, two choices, none, an endless answer", async () => {
  const nonsense: ((response: ServerResponse) => void)[] = [
    (response) => response.end("<!doctype html><html><body>Sign in</body></html>"),
    (response) => response.end('{"choices":[{"text":" half'),
    (response) => response.end('{"choices":[{"text":"a"},{"text":"b"}]}'),
    (response) => response.end('{"choices":[{"text":7}]}'),
    (response) => response.end("null"),
    (response) => {
      const more = setInterval(() => response.write(" ".repeat(300_000)), 5);
      response.once("close", () => clearInterval(more));
    },
  ];
  // By request and not by turn, or it would be chance which of them a request hears last.
  const mad = await Stub.start((asked, response) => {
    nonsense[Number(asked["seed"]) % nonsense.length]!(response);
    return true;
  });
  const sane = await Stub.start(slowly(5));
  const { failures } = await work([mad, sane], groups(60, 1), { tries: 3 });
  assert.deepEqual(failures, []);
  assert.ok(mad.asked.length >= 6, `the mad server was asked ${mad.asked.length} times`);
  const alone = await work([mad], groups(12, 1), { tries: 2 });
  assert.equal(alone.failures.length, 12);
  const messages = alone.failures.map((failure) => (isFailure(failure) ? failure.error.message : "")).join("\n");
  assert.match(messages, /does not end: more than 1048576 bytes/);
  assert.match(messages, /2 choices, not one/);
  assert.match(messages, /not JSON: <!doctype html>/);
});

test("a server that refuses everything is dropped while another lives, and ends the work when it is the last", async () => {
  const refusing: Handler = (_, response) => {
    response.writeHead(401).end('{"error":{"message":"bad key"}}');
    return true;
  };
  const [strict, open] = [await Stub.start(refusing), await Stub.start(slowly(3))];
  const { failures } = await work([strict, open], groups(40, 1));
  assert.deepEqual(failures, []);
  assert.ok(strict.asked.length <= 16);
  await assert.rejects(work([strict], groups(2, 1)), /401: bad key/);
});

test("when all servers are gone the work waits for one to come back", async () => {
  const mortal = await Stub.start((_, response, number) => {
    if (number !== 20) return false;
    mortal.kill();
    response.destroy();
    setTimeout(() => void mortal.listen(), 300);
    return true;
  });
  const { failures } = await work([mortal], groups(100, 1));
  assert.deepEqual(failures, []);
});

test("when none comes back the work ends, and says since when", async () => {
  const mortal = await Stub.start((_, response, number) => {
    if (number < 20) return false;
    mortal.kill();
    response.destroy();
    return true;
  });
  await assert.rejects(
    work([mortal], groups(100, 1), { patienceSeconds: 0.3 }),
    (error) => error instanceof EndpointError && /no server answered for .*nothing listens there/.test(error.message),
  );
});

test("stopped while it waits for servers, it ends at once", async () => {
  const mortal = await Stub.start((_, response) => {
    mortal.kill();
    response.destroy();
    return true;
  });
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 300);
  const { outcomes } = await work([mortal], groups(10, 1), { patienceSeconds: 1000 }, stop.signal);
  assert.deepEqual(outcomes, []);
});

test("closed while its requests pause between two tries, it ends at once; many that pause are no leak", { timeout: 120_000 }, async (t) => {
  const failing = await Stub.start((_, response) => {
    response.writeHead(500).end();
    return true;
  });
  const warnings: string[] = [];
  const warned = ({ name }: Error): number => warnings.push(name);
  process.on("warning", warned);
  t.after(() => process.off("warning", warned));
  const { signal } = new AbortController();
  const engine = new OpenAiCompatibleEngine({ url: [failing.url], pauseSeconds: 1000, timeoutSeconds: 5, tries: 9, concurrency: 20 });
  const source = (async function* (): AsyncGenerator<RewriteGroup> {
    yield* groups(1, 20);
  })();
  const done = (async () => {
    for await (const outcome of engine.rewrite(source, signal)) assert.ok(isFailure(outcome));
  })();
  while (failing.asked.length < 3) await wait(10);
  await wait(100);
  await engine.close();
  await done;
  assert.deepEqual(warnings, []);
});

test("a server that is not there at the start is looked at again while the others work", async () => {
  const [there, late] = [await Stub.start(slowly(5)), await Stub.start(slowly(5))];
  late.kill();
  setTimeout(() => void late.listen(), 250);
  const { failures } = await work([late, there], groups(300, 1), { tries: 2, concurrency: 4 });
  assert.deepEqual(failures, []);
  assert.ok(late.asked.length > 0);
});

test("servers of two models are refused by name, unless one name is given for both", async () => {
  const servers = [await Stub.start(undefined, "llama"), await Stub.start(undefined, "qwen")];
  await assert.rejects(
    work(servers, groups(1, 1)),
    (error) => error instanceof UsageError && /"llama"/.test(error.message) && /"qwen"/.test(error.message),
  );
  await work(servers, groups(20, 1), { model: "both" });
  for (const { asked } of servers) for (const { model } of asked) assert.equal(model, "both");
  const unnamed = [await Stub.start(undefined, null), await Stub.start(undefined, null)];
  assert.equal((await work(unnamed, groups(5, 1))).failures.length, 0);
});

test("a server that fails to list its models is asked for the one that was named", async () => {
  const server = await Stub.start(undefined, "unlisted");
  assert.equal((await work([server], groups(5, 1), { model: "mine" })).failures.length, 0);
  assert.ok(server.asked.every(({ model }) => model === "mine"));
  await assert.rejects(work([server], groups(1, 1), { tries: 1 }), /500/);
});

test("for a model that is not found, the list of the server that was asked last is told, and of no other", async () => {
  const notFound: Handler = (_, response) => {
    response.writeHead(404).end('{"error":{"message":"no such thing"}}');
    return true;
  };
  const [without, having] = [await Stub.start(notFound, "other"), await Stub.start(notFound, "mine")];
  await assert.rejects(work([without], groups(1, 1), { model: "mine" }), /--model mine: .*404/);
  // By then the other is not asked any more, and what this one says is final.
  const late: Handler = async (asked, response, number) => {
    await wait(200);
    return await notFound(asked, response, number);
  };
  const slow = await Stub.start(late, "mine");
  const ends = (error: unknown): boolean => error instanceof EndpointError && /404: no such thing/.test(error.message);
  await assert.rejects(work([having], groups(1, 1), { model: "mine" }), ends);
  await assert.rejects(work([without, slow], groups(40, 1), { model: "mine" }), ends);
});

test("conversations go to chat/completions with room for more than a line", async () => {
  const form: PromptForm = {
    name: "conversation",
    description: "for a test",
    merges: false,
    render: ({ examples, caption }) => ({
      kind: "chat",
      messages: [
        { role: "system", content: examples[0]!.input },
        { role: "user", content: caption },
      ],
    }),
    read: (answer) => answer.trim(),
  };
  const server = await Stub.start();
  const { failures } = await work([server], groups(2, 2, form));
  assert.deepEqual(failures, []);
  const { path, messages, max_tokens, stop } = server.asked[0]!;
  assert.equal(path, "/v1/chat/completions");
  assert.deepEqual(
    messages!.map(({ role }) => role),
    ["system", "user"],
  );
  assert.deepEqual([max_tokens, stop], [200, undefined]);
});
