/**
 * Example pairs from a chat server on loopback: what it is asked, what is refused, and what is kept when it misbehaves; then a data
 * set rewritten with the pairs that came out.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openRewritesFolder } from "../../src/data/index.ts";
import { EdaEngine, OpenAiCompatibleEngine, generatePairs, openCaptions, readPairsFile, writeSource } from "../../src/rewriting/index.ts";
import type { GeneratePairsOptions, GeneratedPairs } from "../../src/rewriting/index.ts";
import { DataError, EndpointError, UsageError } from "../../src/support/index.ts";
import { type Ended, runLaclip, startLaclip } from "./laclip.ts";
import { type Answer, withModelServer } from "./model-server.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-generate-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const place = (name: string): string => join(folder, `${files++}-${name}`);

const things = ["dog", "cat", "boat", "tree", "train", "lamp", "horse", "piano", "kite", "bridge"];
const places = ["on a beach", "in a garden", "by the old harbour", "under a bright sky", "near a stone wall"];
const captions = things.flatMap((thing) => places.map((where) => `a small ${thing} ${where}`));

function captionsFile(): string {
  const path = place("captions.csv");
  writeFileSync(path, `id,caption\n${captions.map((caption, i) => `${i},${caption}`).join("\n")}\n`);
  return path;
}

interface Asked {
  messages: { role: string; content: string }[];
  seed: number;
  temperature: number;
  top_p: number;
  model?: string;
}

/** The caption that a request is about: behind the last colon. */
const captionOf = ({ messages }: Asked): string => messages.at(-1)!.content.split("Caption: ").at(-1)!;
const good = (asked: Asked): string => `Behold, ${captionOf(asked)}, drawn in vivid words.`;

/** What a chat model says, or the status with which its server fails; what ends with dots has been cut off. */
type Says = (asked: Asked, number: number) => string | number;

async function withChat<T>(says: Says, work: (url: string, asked: Asked[]) => Promise<T>): Promise<T> {
  const all: Asked[] = [];
  const answer: Answer<Asked> = ({ path, body }) => {
    if (path !== "/v1/chat/completions") return 404;
    const said = says(body, all.push(body) - 1);
    return typeof said === "string" && said.endsWith("...") ? { text: said, finish: "length" } : said;
  };
  return await withModelServer(answer, async (url) => await work(url, all), [{ id: "tiny-chat" }]);
}

async function generate(url: string, change: Partial<GeneratePairsOptions> & { file?: string } = {}): Promise<GeneratedPairs> {
  const engine = new OpenAiCompatibleEngine({ url, pauseSeconds: 0.01, tries: 2, timeoutSeconds: 5 });
  const { file = captionsFile(), ...options } = change;
  try {
    return await generatePairs({
      captions: await openCaptions(file),
      engine,
      name: "made",
      style: "chatgpt",
      seed: 3,
      createdWith: "test",
      ...options,
    });
  } finally {
    await engine.close();
  }
}

test("sixteen captions of the user's own are rewritten by the instruction, and the record says how", async () => {
  await withChat(good, async (url, asked) => {
    const { source, asked: count, refused } = await generate(url);
    assert.equal(count, 16);
    assert.deepEqual(refused, {});
    assert.equal(source.pairs!.length, 16);
    assert.equal(new Set(source.pairs!.map(([input]) => input)).size, 16);
    for (const [input, output] of source.pairs!) {
      assert.ok(captions.includes(input));
      assert.equal(output, `Behold, ${input}, drawn in vivid words.`);
    }
    for (const { messages, seed, temperature, top_p: topP, model } of asked) {
      assert.equal(messages.length, 1);
      assert.match(messages[0]!.content, /^Rewrite the image caption below .* thirty words.*\n\nCaption: a small /);
      assert.ok(Number.isInteger(seed));
      assert.deepEqual([temperature, topP, model], [0.9, 0.95, "tiny-chat"]);
    }
    assert.equal(new Set(asked.map(({ seed }) => seed)).size, 16);
    const { record } = source;
    assert.ok(record?.by === "model");
    assert.deepEqual([record.model, record.style, record.seed, record.captions!.count], ["tiny-chat", "chatgpt", 3, 50]);
    assert.match(record.instruction, /under thirty words/);
    assert.equal(record.sampling["temperature"], 0.9);
    assert.match(record.captions!.name, /captions\.csv$/);

    const path = place("pairs.json");
    writeSource(path, source);
    const [read] = readPairsFile(path);
    assert.deepEqual(read!.record, record);
    assert.match(
      read!.provenance,
      /^16 example pairs written by the model tiny-chat \(.*seed 3\), told in the chatgpt style: ".*", from .*captions\.csv \(50 captions, /,
    );
  });
});

test("the same seed asks for the same, another one for other captions; an instruction of one's own has the caption in its place", async () => {
  await withChat(good, async (url, asked) => {
    const inputs = async (seed: number, style = "bard"): Promise<string[]> =>
      (await generate(url, { seed, style, count: 5 })).source.pairs!.map(([input]) => input);
    const first = await inputs(1);
    assert.deepEqual(await inputs(1), first);
    assert.notDeepEqual(await inputs(2), first);
    asked.length = 0;
    assert.deepEqual(await inputs(1, "As a poet you say of Caption: {caption}"), first);
    assert.equal(asked.length, 5);
    for (const { messages } of asked) assert.match(messages[0]!.content, /^As a poet you say of Caption: a small [^:]+$/);
    await assert.rejects(inputs(1, "brad"), /--style brad: there is no such style/);
  });
});

test("what is no usable rewrite is asked for again with another seed, then another caption takes its place", async () => {
  const seeds = new Map<string, number[]>();
  const rubbish: Says[] = [
    () => "",
    () => "A first caption of it.\nA second caption of it.",
    ({ seed }) => `Word ${"and word ".repeat(20)}${seed}`,
    (asked) => captionOf(asked).toUpperCase(),
    () => "one => two and three",
    () => "<html><body>502 Bad Gateway</body></html> ...",
    () => "I'm sorry, but I can't help with that request.",
    () => "Always the very same sentence.",
  ];
  const stubborn = captions.filter((caption) => caption.includes("dog") || caption.includes("cat"));
  const answer: Says = (asked) => {
    const caption = captionOf(asked);
    const tries = seeds.get(caption) ?? [];
    seeds.set(caption, [...tries, asked.seed]);
    if (stubborn.includes(caption)) return rubbish[(captions.indexOf(caption) + tries.length) % rubbish.length]!(asked, 0);
    return tries.length === 0 ? "<think>I will not end this thought" : `Sure! Here is the caption:\n\n"${good(asked)}"`;
  };
  await withChat(answer, async (url) => {
    const { source, refused, asked } = await generate(url, { count: 20, seed: 1 });
    const sentences = source.pairs!.filter(([, output]) => output === "Always the very same sentence.");
    assert.ok(sentences.length <= 1);
    for (const [input, output] of source.pairs!.filter((pair) => !sentences.includes(pair))) {
      assert.ok(!stubborn.includes(input));
      assert.equal(output, `Behold, ${input}, drawn in vivid words.`);
    }
    for (const tries of seeds.values()) assert.ok(tries.length <= 3 && new Set(tries).size === tries.length);
    assert.ok([...seeds.keys()].some((caption) => stubborn.includes(caption)));
    assert.equal(asked, [...seeds.values()].flat().length);
    assert.ok(refused["no caption in the answer"]! >= 20, JSON.stringify(refused));
    assert.ok(refused["the model declined"]! > 0, JSON.stringify(refused));
    assert.ok(Object.values(refused).reduce((a, b) => a + b, 0) === asked - 20);
  });
});

test("a model that never gives a usable answer is given up on after a bounded number of questions", async () => {
  await withChat(
    () => "Here are two:\n1. One of two captions.\n2. Two of two captions.",
    async (url, asked) => {
      await assert.rejects(generate(url, { count: 4 }), (error) => {
        assert.ok(error instanceof EndpointError);
        assert.match(error.message, /tiny-chat: only 0 of 4 pairs could be made from 48 answers. Refused were: more than one line \(48\)/);
        return true;
      });
      assert.equal(asked.length, 48);
    },
  );
});

test("a server that fails for a while is asked again, one that always fails ends the work", async () => {
  await withChat(
    (asked, number) => (number % 2 === 0 ? 500 : good(asked)),
    async (url) => assert.equal((await generate(url, { count: 5 })).source.pairs!.length, 5),
  );
  await withChat(
    () => 500,
    async (url, asked) => {
      await assert.rejects(generate(url, { count: 5 }), (error) => error instanceof EndpointError && /500/.test(error.message));
      assert.ok(asked.length <= 10);
    },
  );
});

test("captions that are too few, or an engine that follows no instruction, are refused before anything is asked", async () => {
  await withChat(good, async (url, asked) => {
    const few = place("few.txt");
    writeFileSync(few, "a dog runs\na dog runs along the beach\na dog runs along the beach\nIMG_1.JPG\n");
    await assert.rejects(
      generate(url, { file: few }),
      (error) => error instanceof DataError && /only 1 captions are fit .* 16 are needed/.test(error.message),
    );
    await assert.rejects(generate(url, { count: 2 }), UsageError);
    await assert.rejects(generate(url, { engine: new EdaEngine() }), /--llm eda follows no instructions/);
    assert.equal(asked.length, 0);
  });
});

const laclip = async (...args: string[]): Promise<Ended> => await runLaclip(args);

test("from captions to rewrites in the manner of generated pairs, by the command line", async () => {
  await withChat(good, async (url, asked) => {
    const [file, pairs, out] = [captionsFile(), place("pairs.json"), place("rewrites")];
    const base = ["pairs", "generate", file, "--llm", url, "--name", "vivid", "--out", pairs];
    const made = await laclip(...base, "--count", "4", "--json");
    assert.equal(made.code, 0, made.stderr);
    assert.deepEqual(JSON.parse(made.stdout), { out: pairs, name: "vivid", count: 4, kind: "pairs", asked: 4, refused: {} });

    const before = readFileSync(pairs, "utf8");
    const again = await laclip(...base);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /a source named "vivid" already[\s\S]*--replace/);
    assert.equal(asked.length, 4);
    assert.equal(readFileSync(pairs, "utf8"), before);
    assert.equal((await laclip(...base, "--replace", "--style", "bard", "--count", "3")).code, 0);
    assert.equal(readPairsFile(pairs)[0]!.pairs!.length, 3);

    const shown = JSON.parse((await laclip("pairs", "show", "vivid", "--pairs", pairs, "--json")).stdout) as {
      record: { style: string };
    }[];
    assert.equal(shown[0]!.record.style, "bard");

    asked.length = 0;
    const run = await laclip(
      "rewrite",
      file,
      "--out",
      out,
      "--llm",
      url,
      "--pairs",
      pairs,
      "--sources",
      "vivid",
      "--prompt",
      "chat",
      "--limit",
      "6",
    );
    assert.equal(run.code, 0, run.stderr);
    assert.equal(asked.length, 6);
    const inputs = new Set(readPairsFile(pairs)[0]!.pairs!.map(([input]) => `Caption: ${input}`));
    for (const { messages } of asked) {
      assert.deepEqual(
        messages.map(({ role }) => role),
        ["system", "user", "assistant", "user", "assistant", "user", "assistant", "user"],
      );
      for (const at of [1, 3, 5]) assert.ok(inputs.has(messages[at]!.content));
    }
    const manifest = (await openRewritesFolder(out)).manifest.sources["vivid"]!;
    assert.equal(manifest.prompt, "chat");
    assert.match(manifest.provenance, /3 example pairs written by the model tiny-chat .* told in the bard style/);
  });
});

test("an interruption writes nothing and says so", async () => {
  let stop = (): void => {};
  await withChat(
    (asked, number) => {
      if (number === 1) stop();
      return good(asked);
    },
    async (url) => {
      const pairs = place("pairs.json");
      const words = ["pairs", "generate", captionsFile(), "--llm", url, "--name", "x", "--out", pairs, "--concurrency", "1"];
      const { child, ended } = startLaclip(words);
      stop = () => child.kill("SIGINT");
      const { code, stderr } = await ended;
      assert.equal(code, 75, stderr);
      assert.match(stderr, /No pairs were written/);
      assert.ok(!existsSync(pairs));
    },
  );
});
