/**
 * Captions merged with a machine's captions of the same images, from a column and from another rewrites folder, through a server on
 * loopback: what the model is shown, what is left out, and what is noticed when a run is started again.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RewritesWriter, captionsFingerprint, openRewritesFolder } from "../../src/data/index.ts";
import type { Rewrite } from "../../src/data/index.ts";
import { fusionSource } from "../../src/rewriting/index.ts";
import { runLaclip } from "./laclip.ts";
import { startModelServer } from "./model-server.ts";
import { rewritesIn } from "./rewrites-in.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-fusion-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const place = (name: string): string => join(folder, `${files++}-${name}`);

const prompts: string[] = [];
const server = await startModelServer<{ prompt: string }>(
  ({ body: { prompt } }) => ` merged words of number ${prompts.push(prompt)}\n\nAlt-text: more`,
);
after(() => server.close());

interface Rewritten {
  code: number | null;
  stderr: string;
  summary: Record<string, unknown>;
  /** Rewrites by id. */
  rewrites: Map<string, Rewrite>;
}

/** Rewrites a file with `laclip rewrite`. */
async function rewrite(captions: string, out: string, ...flags: string[]): Promise<Rewritten> {
  const { code, stdout, stderr } = await runLaclip(["rewrite", captions, "--out", out, "--llm", server.url, "--json", ...flags]);
  const rewrites = new Map((code === 0 ? await rewritesIn(out) : []).map((one) => [one.id, one]));
  return { code, stderr, summary: code === 0 ? (JSON.parse(stdout) as Record<string, unknown>) : {}, rewrites };
}

const table = (rows: readonly (readonly string[])[]): string => {
  const path = place("captions.csv");
  writeFileSync(path, `${[["id", "caption", "blip"], ...rows].map((row) => row.map((cell) => `"${cell}"`).join(",")).join("\n")}\n`);
  return path;
};
const rows = [
  ["1", "Eiffel Tower wallpaper", "a tall tower at night"],
  ["2", "our new sofa", ""],
  ["3", "Luna at the lake", "a dog\nin the water => wet </s>"],
  ["4", "", "a car"],
  ["5", "a view", "word ".repeat(2000)],
];
const own = (prompt: string): string => prompt.slice(prompt.lastIndexOf("Alt-text: "));

test("a column with second captions goes into the prompt, made safe; a caption without one is left out and counted", async () => {
  const [captions, out] = [table(rows), place("out")];
  prompts.length = 0;
  const first = await rewrite(captions, out, "--prompt", "fusion", "--second-column", "blip");
  assert.equal(first.code, 0, first.stderr);
  assert.deepEqual([...first.rewrites.keys()].sort(), ["1", "3", "5"]);
  assert.deepEqual([first.summary["written"], first.summary["withoutSecond"], first.summary["emptyCaptions"]], [3, 1, 1]);
  const asked = prompts.map((prompt) => own(prompt)).sort();
  assert.deepEqual(asked.slice(0, 2), [
    "Alt-text: Eiffel Tower wallpaper\nMachine caption: a tall tower at night\nMerged:",
    "Alt-text: Luna at the lake\nMachine caption: a dog in the water -> wet\nMerged:",
  ]);
  assert.match(asked[2]!, /^Alt-text: a view\nMachine caption: (?:word ){79}word\nMerged:$/);
  for (const prompt of prompts) {
    const examples = [...prompt.matchAll(/^Alt-text: (.*)\nMachine caption: (.*)\nMerged: (.*)$/gm)].map(([, ...texts]) => texts);
    assert.equal(examples.length, 3);
    for (const example of examples) assert.ok(fusionSource.triples!.some((triple) => JSON.stringify(triple) === JSON.stringify(example)));
  }
  assert.match(first.rewrites.get("1")!.text, /^merged words of number \d$/);
  assert.ok(first.rewrites.get("5")!.flags.includes("caption-shortened"));
  assert.ok(!first.rewrites.get("3")!.flags.includes("caption-shortened"));
  const made = (await openRewritesFolder(out)).manifest.sources["fusion"]!;
  assert.equal(made.prompt, "fusion");
  assert.match(made.provenance, /merged with captions from column "blip"$/);

  prompts.length = 0;
  const second = await rewrite(captions, out, "--prompt", "fusion", "--second-column", "blip");
  assert.deepEqual([second.code, second.summary["kept"], second.summary["written"], prompts.length], [0, 3, 0, 0]);

  const other = await rewrite(
    table([["1", "Eiffel Tower wallpaper", "something else"], ...rows.slice(1)]),
    out,
    "--prompt",
    "fusion",
    "--second-column",
    "blip",
  );
  assert.equal(other.code, 3);
  assert.match(other.stderr, /prompt/);
  assert.equal(prompts.length, 0);
});

test("a rewrites folder of the same captions gives the second captions by id, rejected ones aside; one of other captions is refused", async () => {
  const captions = table(rows);
  const seen = place("seen");
  const entries = rows.filter(([, caption]) => caption !== "").map(([id, caption]) => ({ id: id!, caption: caption! }));
  const writer = await RewritesWriter.open(seen, {
    dataset: "captions.csv",
    fingerprint: captionsFingerprint(entries),
    sources: {
      blip: { engine: "people", model: "blip", modelHash: "", promptHash: "", provenance: "a captioning model", sampling: {}, seed: 0 },
    },
    createdWith: "test",
  });
  const text = (id: string, flags: string[] = []): Rewrite => ({
    id,
    source: "blip",
    text: `seen in ${id}`,
    flags,
    finish: "none",
    tokens: 0,
    seed: 0,
    examples: [],
  });
  await writer.append([text("3"), text("1"), text("2", ["rejected:too-short"])]);
  await writer.finish();
  writer.close();

  prompts.length = 0;
  const done = await rewrite(captions, place("out"), "--prompt", "fusion", "--second-from", seen);
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual(prompts.map((prompt) => own(prompt)).sort(), [
    "Alt-text: Eiffel Tower wallpaper\nMachine caption: seen in 1\nMerged:",
    "Alt-text: Luna at the lake\nMachine caption: seen in 3\nMerged:",
  ]);
  assert.equal(done.summary["withoutSecond"], 2);

  const out = place("out");
  const wrong = await rewrite(table([["1", "other words", ""]]), out, "--prompt", "fusion", "--second-from", seen);
  assert.equal(wrong.code, 3);
  assert.match(wrong.stderr, /another data set/);
  const missing = await rewrite(captions, out, "--prompt", "fusion", "--second-from", seen, "--second-source", "blop");
  assert.equal(missing.code, 3);
  assert.match(missing.stderr, /no rewrites from source "blop".*It has: blip/);
});

test("what does not fit together is refused before anything is asked", async () => {
  const [captions, out] = [table(rows), place("out")];
  prompts.length = 0;
  const refusals: [string[], RegExp][] = [
    [["--prompt", "fusion"], /needs a second caption/],
    [["--prompt", "fusion", "--second-column", "blip", "--second-from", out], /both say where/],
    [["--second-source", "blip"], /--second-from/],
    [["--rounds", "2"], /one text of each caption/],
    [["--back-translate", "German", "--prompt", "fusion"], /--prompt would not be used/],
    [["--back-translate", "German", "--second-column", "blip"], /--second-column would not be used/],
  ];
  for (const [flags, expected] of refusals) {
    const { code, stderr } = await rewrite(captions, out, ...flags);
    assert.equal(code, 2, stderr);
    assert.match(stderr, expected);
  }
  assert.equal(prompts.length, 0);
});
