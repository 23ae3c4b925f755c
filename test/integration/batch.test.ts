/** Rewriting through batch files: the requests are a server's, and their answers make the folder that a server's would. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openRewritesFolder } from "../../src/data/index.ts";
import {
  BatchRequests,
  OpenAiCompatibleEngine,
  chooseSources,
  findPromptForm,
  openCaptions,
  rewriteCaptions,
} from "../../src/rewriting/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { type Answer, withModelServer } from "./model-server.ts";
import { rewritesIn } from "./rewrites-in.ts";
import type { BatchLine, RewriteOptions } from "../../src/rewriting/index.ts"; // prettier-ignore

const folder = mkdtempSync(join(tmpdir(), "laclip-batch-"));
after(() => rmSync(folder, { recursive: true }));

const captions = join(folder, "captions.csv");
writeFileSync(captions, `id,caption\n${Array.from({ length: 40 }, (_, i) => `image ${i},a photo of ${i} dogs\n`).join("")}empty,\n`);

type Body = Readonly<Record<string, unknown>>;

/** What the model answers, told by the request's seed: some of it is not fit for training. */
const textFor = ({ seed }: Body): string => (Number(seed) % 7 === 0 ? "short" : ` new words ${String(seed)} for these dogs\nand more`);
const answerTo = (body: Body): object => ({
  choices: [
    { ...(body["prompt"] === undefined ? { message: { content: textFor(body) } } : { text: textFor(body) }), finish_reason: "stop" },
  ],
  usage: { completion_tokens: 9 },
});

const laclip = async (...args: string[]): Promise<Ended> => await runLaclip(args, { cwd: folder });

function requestsIn(requests: string): BatchLine[] {
  const { files } = JSON.parse(readFileSync(join(requests, "batch.json"), "utf8")) as { files: string[] };
  return files.flatMap((file) => readFileSync(join(requests, file), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as BatchLine)); // prettier-ignore
}

const result = ({ custom_id, body }: BatchLine): string =>
  JSON.stringify({ id: "x", custom_id, response: { status_code: 200, request_id: "y", body: answerTo(body) }, error: null });

/** A server on loopback that answers like the batches, and remembers what it was asked. */
async function throughServer(out: string, options: Pick<RewriteOptions, "form" | "sources">): Promise<{ path: string; body: Body }[]> {
  const asked: { path: string; body: Body }[] = [];
  const answer: Answer<Body> = ({ path, body }) => {
    asked.push({ path, body });
    return textFor(body);
  };
  await withModelServer(
    answer,
    async (url) => {
      const engine = new OpenAiCompatibleEngine({ url });
      try {
        await rewriteCaptions({ ...options, captions: await openCaptions(captions), out, engine, seed: 3, createdWith: "test" });
      } finally {
        await engine.close();
      }
    },
    [{ id: "a-model" }],
  );
  return asked;
}

for (const prompt of ["paper", "chat"]) {
  test(`the requests of a batch (${prompt}) are those of a server, and give the same rewrites, whatever their order`, async () => {
    const [requests, out, served] = [`requests-${prompt}`, `rewrites-${prompt}`, join(folder, `served-${prompt}`)];
    const flags = ["--prompt", prompt, "--sources", "chatgpt,mscoco", "--seed", "3"];
    const written = await laclip("batch", "write", "captions.csv", "--out", out, "--requests", requests, "--model", "a-model", ...flags);
    assert.equal(written.code, 0, written.stderr);
    assert.match(written.stderr, /80 requests in 1 files in requests-.*1 captions are empty/s);
    const lines = requestsIn(join(folder, requests));

    const asked = await throughServer(served, { form: findPromptForm(prompt), sources: chooseSources(["chatgpt", "mscoco"]) });
    const order = (body: Body): string => JSON.stringify(body);
    assert.deepEqual(
      lines.map(({ url, body }) => ({ path: url, body })).sort((a, b) => (order(a) < order(b) ? -1 : 1)),
      asked.sort((a, b) => (order(a) < order(b) ? -1 : 1)),
    );
    assert.equal(new Set(lines.map(({ custom_id }) => custom_id)).size, 80);
    assert.ok(lines.every(({ method, custom_id }) => method === "POST" && custom_id.length <= 64));

    writeFileSync(join(folder, "results.jsonl"), `${lines.toReversed().map((line) => result(line)).join("\n")}\n`); // prettier-ignore
    const read = await laclip("batch", "read", "results.jsonl", "--requests", requests, "--json");
    assert.equal(read.code, 0, read.stderr);
    const { written: count, failed, missing, unused } = JSON.parse(read.stdout) as Record<string, number>;
    assert.deepEqual([count, failed, missing, unused], [80, 0, 0, 0]);
    assert.deepEqual(await rewritesIn(join(folder, out)), await rewritesIn(served));
    const [ours, theirs] = [await openRewritesFolder(join(folder, out)), await openRewritesFolder(served)];
    assert.deepEqual(
      Object.values(ours.manifest.sources).map((source) => ({ ...source, engine: "" })),
      Object.values(theirs.manifest.sources).map((source) => ({ ...source, engine: "" })),
    );
  });
}

test("errors and missing answers are counted and said, and asked again by the next batch; answers of others are not used", async () => {
  const write = async (requests: string): Promise<Ended> =>
    await laclip("batch", "write", "captions.csv", "--out", "parts", "--requests", requests, "--model", "a-model", "--sources", "human");
  assert.equal((await write("first")).code, 0);
  const lines = requestsIn(join(folder, "first"));
  const failing = lines.slice(0, 3);
  const errors = [
    { custom_id: failing[0]!.custom_id, response: { status_code: 429, body: { error: { message: "slow down" } } }, error: null },
    { custom_id: failing[1]!.custom_id, response: null, error: { code: "batch_expired", message: "expired" } },
    { custom_id: failing[2]!.custom_id, response: { status_code: 200, body: { choices: [] } }, error: null },
  ];
  const stranger = { ...lines[0]!, custom_id: "human-of-another-batch" };
  const good = lines.slice(3, 30);
  const text = [...errors.map((line) => JSON.stringify(line)), ...[stranger, ...good].map((line) => result(line))].join("\n");
  writeFileSync(join(folder, "some.jsonl"), text);
  writeFileSync(join(folder, "others.jsonl"), result(stranger));
  // A result that came late counts before an error, in whichever file it is.
  writeFileSync(join(folder, "late.jsonl"), `\n${result(failing[0]!)}\n`);

  const others = await laclip("batch", "read", "others.jsonl", "--requests", "first");
  assert.equal(others.code, 3);
  assert.match(others.stderr, /none of the 1 results answers a request of this batch/);
  const read = await laclip("batch", "read", "late.jsonl", "some.jsonl", "--requests", "first", "--json");
  const { written, failed, missing, unused, failures } = JSON.parse(read.stdout) as Record<string, unknown>;
  assert.deepEqual([written, failed, missing, unused], [28, 2, 10, 1]);
  assert.match(String(failures), /expired.*no choices\[0\]\.text/s);

  assert.equal((await write("second")).code, 0);
  const open = new Set(requestsIn(join(folder, "second")).map(({ custom_id }) => custom_id));
  assert.equal(open.size, 12);
  for (const { custom_id } of [failing[1]!, failing[2]!, ...lines.slice(30)]) assert.ok(open.has(custom_id));
  const again = await laclip("batch", "read", "some.jsonl", "--requests", "first", "--json");
  assert.equal((JSON.parse(again.stdout) as { written: number }).written, 0);
});

test("what is no result, or another batch's, is refused before anything is used", async () => {
  const write = async (...more: string[]): Promise<Ended> =>
    await laclip("batch", "write", "captions.csv", "--out", "refused", "--requests", "third", "--model", "a-model", "--sources", "bard", ...more);
  assert.equal((await write()).code, 0);
  const lines = requestsIn(join(folder, "third"));
  const refuses = async (content: string, pattern: RegExp): Promise<void> => {
    writeFileSync(join(folder, "bad.jsonl"), content);
    const { code, stderr } = await laclip("batch", "read", "bad.jsonl", "--requests", "third");
    assert.equal(code, 3, stderr);
    assert.match(stderr, pattern);
  };
  await refuses(`${result(lines[0]!)}\n${result(lines[1]!).slice(0, 50)}`, /bad\.jsonl: line 2 is not valid JSON/);
  await refuses(`${JSON.stringify(lines[0])}\n`, /bad\.jsonl: line 1 is no result of a batch/);
  await refuses("null\n", /line 1 is no result/);
  assert.match((await laclip("batch", "read", "none.jsonl", "--requests", "third")).stderr, /none\.jsonl: no such file/);
  assert.match((await laclip("batch", "read", "bad.jsonl", "--requests", "refused")).stderr, /there is no batch\.json in this folder/);
  assert.match((await write()).stderr, /third: this folder holds a batch already/);
  assert.match((await write("--retries", "2")).stderr, /a batch asks for each rewrite once/);
  const other = await laclip("batch", "write", "captions.csv", "--out", "refused", "--requests", "fourth", "--model", "another", "--sources", "bard");
  assert.equal(other.code, 3);
  assert.match(other.stderr, /made otherwise \(model/);
  assert.ok(!existsSync(join(folder, "fourth", "batch.json")));
}); // prettier-ignore

test("files are closed when they are full, and only whole ones are there", async () => {
  const requests = join(folder, "small-files");
  const engine = new BatchRequests(requests, { model: "a-model" }, { requests: 15, bytes: 1_000_000 });
  const run = { captions: await openCaptions(captions), out: join(folder, "small"), sources: chooseSources(["human"]), seed: 0, createdWith: "test" };
  await rewriteCaptions({ ...run, engine });
  assert.equal(readdirSync(requests).filter((name) => name.endsWith(".jsonl")).length, 2);
  await engine.finish();
  await engine.close();
  const counts = engine.files.map((file) => readFileSync(file, "utf8").trimEnd().split("\n").length);
  assert.deepEqual(counts, [15, 15, 10]);

  // A start that was stopped has left requests and no record: the next one begins anew.
  const anew = new BatchRequests(requests, { model: "a-model" }, { requests: 100, bytes: 4000 });
  await rewriteCaptions({ ...run, engine: anew });
  await anew.finish();
  assert.deepEqual(readdirSync(requests), anew.files.map((file) => file.slice(requests.length + 1)));
  for (const file of anew.files) assert.ok(readFileSync(file).length <= 4000);
}); // prettier-ignore
