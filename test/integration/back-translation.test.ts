/**
 * Back-translation from the command line through a chat server on loopback, which "translates" by turning every word around: on the
 * way back that gives the caption again, so that a round trip shows whether both ways were gone, and in the right order.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Rewrite } from "../../src/data/index.ts";
import { readPlan, storePlan } from "../../src/rewriting/index.ts";
import type { RewritePlan } from "../../src/rewriting/index.ts";
import { runLaclip, startLaclip } from "./laclip.ts";
import { type Answer, withModelServer } from "./model-server.ts";
import { rewritesIn } from "./rewrites-in.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-back-"));
after(() => rmSync(folder, { recursive: true }));

interface Asked {
  /** The language that it comes from, the one that it goes to, and what is to be translated. */
  from: string;
  to: string;
  text: string;
  body: Record<string, unknown>;
}

const turned = (text: string): string => text.replace(/[^ ]+/g, (word) => Array.from(word).toReversed().join(""));
/** What the server's language model says; on the way back the words come in another order, so that something has changed. */
const translated = ({ to, text }: Asked): string =>
  to === "English" ? turned(text).split(" ").toReversed().join(" ") : `Sure! Here is the ${to} translation:\n"${turned(text)}"`;

/** Runs the command against a server; `answer` may give something else than the translation, or a status. */
async function backTranslate(
  name: string,
  captions: readonly string[],
  flags: readonly string[],
  answer: (asked: Asked, number: number, stop: () => void) => string | number | undefined = translated,
): Promise<{ code: number | null; stderr: string; asked: Asked[]; rewrites: Rewrite[]; out: string }> {
  const asked: Asked[] = [];
  let child: ChildProcess | undefined;
  const says: Answer<{ messages: { role: string; content: string }[] }> = ({ path, body }) => {
    const { content } = body.messages.at(-1)!;
    const [, from, to] = /from (.+?) into ([^.]+)\./.exec(content)!;
    const question = { from: from!, to: to!, text: content.slice(content.lastIndexOf("\n") + 1), body };
    asked.push(question);
    return path === "/v1/chat/completions" ? answer(question, asked.length, () => child?.kill("SIGINT")) : 404;
  };
  const models = [{ id: "polyglot", owned_by: "somebody" }];
  return await withModelServer(
    says,
    async (url) => {
      const table = join(folder, `${name}.jsonl`);
      writeFileSync(table, captions.map((caption, i) => JSON.stringify({ id: `c${i}`, caption })).join("\n"));
      const out = join(folder, name);
      const model = flags.includes("--llm") ? [] : ["--llm", url];
      const started = startLaclip(["rewrite", table, "--out", out, ...model, ...flags]);
      child = started.child;
      const { code, stderr } = await started.ended;
      const rewrites = code === 0 ? await rewritesIn(out) : [];
      return { code, stderr, asked, rewrites, out };
    },
    models,
  );
}

const captions = Array.from({ length: 400 }, (_, i) => `picture ${i} of a dog`);

test("each caption goes into every language and back, with the likeliest tokens and a seed of its own", async () => {
  const { code, stderr, asked, rewrites, out } = await backTranslate("two", captions, ["--back-translate", "German, Brazilian Portuguese"]);
  assert.equal(code, 0, stderr);
  assert.equal(asked.length, captions.length * 4);
  assert.equal(rewrites.length, captions.length * 2);
  const names = new Set(rewrites.map(({ source }) => source));
  assert.deepEqual([...names].sort(), ["back-translation-brazilian-portuguese", "back-translation-german"]);
  for (const { id, text, flags, tokens, finish } of rewrites) {
    assert.equal(text, captions[Number(id.slice(1))]!.split(" ").toReversed().join(" "));
    assert.deepEqual({ flags, tokens, finish }, { flags: [], tokens: 18, finish: "stop" });
  }
  for (const { body } of asked) {
    assert.equal(body["temperature"], 0);
    assert.equal(typeof body["seed"], "number");
  }
  const german = asked.filter(({ from, to }) => from === "German" || to === "German");
  assert.equal(german.length, captions.length * 2);
  // Few are under way at a time: ways back begin long before the last way there.
  assert.ok(german.findIndex(({ to }) => to === "English") < captions.length);
  const manifest = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8")) as {
    sources: Record<string, { engine: string; model: string; provenance: string; sampling: Record<string, unknown> }>;
  };
  const source = manifest.sources["back-translation-german"]!;
  assert.equal(source.engine, "back-translation");
  assert.equal(source.model, "polyglot");
  assert.match(source.provenance, /German and back/);
  assert.equal(source.sampling["temperature"], 0);
  assert.match(String(source.sampling["prompts"]), /^[0-9a-f]{64}$/);
});

test("a way that fails, there or back, is a failure of that caption, and the same command tries it again", async () => {
  const fails = (asked: Asked): string | number => {
    if (asked.text.startsWith("picture 7 ")) return 400;
    if (asked.to === "English" && asked.text.startsWith("erutcip 9 ")) return "";
    return translated(asked);
  };
  const flags = ["--back-translate", "German", "--max-failed", "0.5"];
  const first = await backTranslate("fails", captions.slice(0, 20), flags, fails);
  assert.equal(first.code, 0, first.stderr);
  assert.equal(first.rewrites.length, 18);
  assert.match(first.stderr, /no rewrite of c7 .*400/);
  assert.match(first.stderr, /no rewrite of c9 .*no translation from German back into English/);
  const second = await backTranslate("fails", captions.slice(0, 20), flags);
  assert.equal(second.rewrites.length, 20);
  assert.equal(second.asked.length, 4);
});

test("stopped while translations are awaited on both ways, it keeps what came home and goes on from there", async () => {
  const flags = ["--back-translate", "German", "--concurrency", "8"];
  const stopped = await backTranslate("stopped", captions.slice(0, 300), flags, (asked, number, stop) => {
    if (number === 320) stop();
    // From here on the server is silent.
    return number < 320 ? translated(asked) : undefined;
  });
  assert.equal(stopped.code, 75, stopped.stderr);
  const again = await backTranslate("stopped", captions.slice(0, 300), flags);
  assert.equal(again.code, 0, again.stderr);
  assert.equal(again.rewrites.length, 300);
  assert.ok(again.asked.length < 600, "what had come home is not asked for again");
});

test("an unfinished run gives up cleanly when too much fails", async () => {
  const { code, stderr } = await backTranslate("given-up", captions, ["--back-translate", "German"], ({ to }) =>
    to === "English" ? "" : "x y",
  );
  assert.equal(code, 4, stderr);
  assert.match(stderr, /tuned to follow instructions/);
});

test("the languages travel with the plan of a queue; a batch, which asks once, refuses them", async () => {
  const plan: RewritePlan = {
    captions: "/captions.csv",
    columns: {},
    fingerprint: { count: 2, hash: "h" },
    out: "/out",
    shards: 1,
    sources: [],
    backTranslate: ["German", "French"],
    settings: { seed: 0 },
  };
  const { id, text } = storePlan(plan);
  assert.deepEqual(readPlan(text, id).backTranslate, ["German", "French"]);
  assert.notEqual(storePlan({ ...plan, backTranslate: ["German"] }).id, id);

  const table = join(folder, "batch.jsonl");
  writeFileSync(table, JSON.stringify({ id: "c", caption: "a dog on a beach" }));
  const flags = ["--out", join(folder, "batch"), "--requests", join(folder, "requests"), "--model", "m", "--back-translate", "German"];
  assert.equal((await runLaclip(["batch", "write", table, ...flags])).code, 2);
  assert.equal(existsSync(join(folder, "requests")), false);
});

test("English, nonsense, EDA and other flags that do not go together are refused before anything is asked", async () => {
  for (const [flags, message] of [
    [["--back-translate", "english"], /captions are English/],
    [["--back-translate", "%"], /no name of a language/],
    [["--back-translate", ","], /No language/],
    [["--back-translate", "German", "--rounds", "2"], /same texts/],
    [["--back-translate", "German", "--sources", "human"], /it writes back-translation-german, not human/],
    [["--back-translate", "German", "--llm", "eda"], /no language model/],
  ] as const) {
    const { code, stderr, asked } = await backTranslate("refused", captions, flags);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
    assert.equal(asked.length, 0);
  }
});
