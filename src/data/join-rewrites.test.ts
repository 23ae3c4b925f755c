import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { DataError } from "../support/index.ts";
import { joinRewrites } from "./join-rewrites.ts";
import { openPairs, type Pairs } from "./pairs.ts";
import type { Rewrite } from "./rewrites-folder.ts";
import { RewritesWriter } from "./rewrites-writer.ts";
import { SampleTable } from "./sample-table.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-join-"));
after(() => rmSync(folder, { recursive: true }));

async function pairsOf(name: string, ids: readonly string[], caption = (id: string): string => `caption of ${id}`): Promise<Pairs> {
  const file = join(folder, `${name}.csv`);
  writeFileSync(file, `id,image,caption\n${ids.map((id) => `${id},${id}.jpg,"${caption(id)}"\n`).join("")}`);
  return openPairs({ file, checkImages: false });
}

let folders = 0;

/** A rewrites folder as the rewriting commands leave it. */
async function rewritesOf(
  pairs: Pairs,
  rewrites: readonly (Pick<Rewrite, "id" | "source" | "text" | "weight"> & { flags?: string[] })[],
): Promise<string> {
  const path = join(folder, `rewrites-${folders++}`);
  const source = { engine: "people", model: "", modelHash: "", promptHash: "", provenance: "a test", sampling: {}, seed: 1 };
  const names = [...new Set(rewrites.map((rewrite) => rewrite.source))];
  const writer = await RewritesWriter.open(path, {
    dataset: pairs.file,
    fingerprint: pairs.fingerprint,
    sources: Object.fromEntries(names.map((name) => [name, source])),
    createdWith: "test",
  });
  await writer.append(rewrites.map((rewrite) => ({ flags: [], finish: "none", tokens: 0, seed: 1, examples: [], ...rewrite })));
  writer.close();
  return path;
}

/** What is said on standard error meanwhile. */
async function warnings(work: () => Promise<unknown>): Promise<string> {
  const write = mock.method(process.stderr, "write", () => true);
  try {
    await work();
    return write.mock.calls.map((call) => String(call.arguments[0])).join("");
  } finally {
    write.mock.restore();
  }
}

const ids = ["a", "b", "c", "d"];

test("rewrites become further captions, in the order of the sources, whatever order they were written in", async () => {
  const pairs = await pairsOf("plain", ids);
  const path = await rewritesOf(pairs, [
    ...["d", "b", "a", "c"].map((id) => ({ id, source: "bard", text: `bard on ${id}` })),
    ...["c", "a", "d", "b"].map((id) => ({ id, source: "human", text: `human on ${id}` })),
  ]);
  const { samples, rewrites } = await joinRewrites(pairs, path, { sources: ["human", "bard"] });
  for (const [row, id] of ids.entries()) {
    assert.deepEqual(samples.at(row).captions, [
      { source: "original", text: `caption of ${id}` },
      { source: "human", text: `human on ${id}` },
      { source: "bard", text: `bard on ${id}` },
    ]);
  }
  assert.deepEqual([rewrites.matched, rewrites.unmatched, rewrites.texts], [4, 0, { human: 4, bard: 4 }]);
  const one = await joinRewrites(pairs, path, { sources: ["bard"] });
  assert.equal(one.samples.at(0).captions.length, 2);
  await assert.rejects(joinRewrites(pairs, path, { sources: ["chatgpt"] }), /no rewrites from source "chatgpt".*human/);
  assert.equal(pairs.samples.at(0).captions.length, 1, "the pairs themselves stay as they were");
});

test("rewrites of which most were rejected are not taken for those of another data set", async () => {
  const pairs = await pairsOf("unfit", ids);
  const path = await rewritesOf(
    pairs,
    ids.map((id) => ({ id, source: "bard", text: "nothing", flags: ["rejected:too-short"] })),
  );
  await assert.rejects(joinRewrites(pairs, path), (error: unknown) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /0 of 4 samples .* 4 rewrites were rejected/);
    assert.doesNotMatch(error.message, /another data set/);
    assert.match(error.mend!, /laclip rewrites stats/);
    return true;
  });
});

test("rejected and empty rewrites are counted and left out", async () => {
  const pairs = await pairsOf("rejected", ids);
  const path = await rewritesOf(pairs, [
    { id: "a", source: "bard", text: "never to be seen", flags: ["rejected:prompt-leak"] },
    { id: "b", source: "bard", text: " " },
    { id: "c", source: "bard", text: "kept as it is", flags: ["long"] },
    { id: "d", source: "bard", text: "kept too" },
  ]);
  const { samples, rewrites } = await joinRewrites(pairs, path, { minimumMatched: 0.5 });
  assert.deepEqual([rewrites.matched, rewrites.unmatched, rewrites.unusable], [2, 2, 2]);
  assert.deepEqual(
    ids.map((_, row) => samples.at(row).captions.length),
    [1, 1, 2, 2],
  );
  await assert.rejects(joinRewrites(pairs, path, { minimumMatched: 0.57 }), /expected at least 57 %\./, "as it was set");
  await assert.rejects(joinRewrites(pairs, path), (error) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /2 of 4 samples .* \(50 %\), expected at least 99 %/);
    assert.match(error.message, /First ids without one: "a", "b"/);
    assert.doesNotMatch(error.message, /another data set/);
    return true;
  });
});

test("rewrites of another data set are refused, with ids of both", async () => {
  const other = await pairsOf("other", ["x1", "x2", "x3"]);
  const path = await rewritesOf(
    other,
    ["x1", "x1", "x2", "x3"].map((id, i) => ({ id, source: i === 1 ? "human" : "bard", text: "some words" })),
  );
  await assert.rejects(joinRewrites(await pairsOf("mine", ids), path), (error: DataError) => {
    assert.match(error.message, /0 of 4 samples.*belong to another data set.*"a", "b", "c".*"x1", "x2", "x3"/s);
    assert.match(error.mend!, /Name the folder/, "more rewrites must not be written into it");
    return true;
  });
});

test("ids that are mere numbers do not let other captions pass", async () => {
  const numbers = ["1", "2", "3"];
  const path = await rewritesOf(
    await pairsOf("theirs", numbers, (id) => `their caption ${id}`),
    numbers.map((id) => ({ id, source: "bard", text: "some words" })),
  );
  const mine = await pairsOf("numbers", numbers, (id) => `my caption ${id}`);
  await assert.rejects(joinRewrites(mine, path), /made for other captions/);
  assert.equal((await joinRewrites(mine, path, { otherCaptions: true })).rewrites.matched, 3);
  const same = await pairsOf("shuffled", ["3", "1", "2"], (id) => `their caption ${id}`);
  assert.equal((await joinRewrites(same, path)).rewrites.matched, 3);
});

test("file names that are mere numbers do not let other captions pass either", async () => {
  const row = ["1", "2", "3"];
  for (const name of [(i: string) => `00000000${i}.jpg`, (i: string) => `images/000${i}.PNG`, (i: string) => `00${i}/0-${i}`]) {
    const path = await rewritesOf(
      await pairsOf("their-files", row.map(name), (id) => `their caption ${id}`),
      row.map((i) => ({ id: name(i), source: "bard", text: "some words" })),
    );
    const mine = await pairsOf("my-files", row.map(name), (id) => `my caption ${id}`);
    await assert.rejects(joinRewrites(mine, path), (error) => error instanceof DataError && /made for other captions/.test(error.message));
    assert.equal((await joinRewrites(mine, path, { otherCaptions: true })).rewrites.matched, 3);
  }
});

test("ids that say something join other captions, with a warning that says so", async () => {
  for (const names of [ids, ["cat/1.jpg", "dog/1.jpg"], ["a1b.jpg", "77.txt"]]) {
    const path = await rewritesOf(
      await pairsOf("before", names),
      names.map((id) => ({ id, source: "bard", text: `on ${id}` })),
    );
    const changed = await pairsOf("after", names, (id) => `caption of ${id}, corrected`);
    const said = await warnings(async () => assert.equal((await joinRewrites(changed, path)).rewrites.matched, names.length));
    assert.match(said, /made for other captions \(".*before\.csv", \d of them\)/);
    assert.doesNotMatch(await warnings(async () => await joinRewrites(await pairsOf("before", names), path)), /other captions/);
  }
});

test("a part of a data set may use the rewrites of all of it", async () => {
  const path = await rewritesOf(
    await pairsOf("all", ids),
    ids.map((id) => ({ id, source: "bard", text: `on ${id}` })),
  );
  const { rewrites, samples } = await joinRewrites(await pairsOf("part", ["d", "b"]), path);
  assert.deepEqual([rewrites.matched, rewrites.foreign], [2, 2]);
  assert.equal(samples.at(0).captions[1]!.text, "on d");
});

test("a missing folder is a data error", async () => {
  await assert.rejects(joinRewrites(await pairsOf("lonely", ids), join(folder, "nowhere")), DataError);
});

test("weights come with their texts, whatever the order on disk; a folder without any gives none", async () => {
  const pairs = await pairsOf("weighed", ["a", "b"]);
  const path = await rewritesOf(pairs, [
    { id: "b", source: "bard", text: "bard on b", weight: 0.25 },
    { id: "a", source: "chatgpt", text: "chatgpt on a" },
    { id: "a", source: "bard", text: "bard on a", weight: 0.5 },
    { id: "b", source: "chatgpt", text: "chatgpt on b" },
  ]);
  const joined = await joinRewrites(pairs, path, { sources: ["chatgpt", "bard"] });
  const table = new SampleTable(joined.samples.memory);
  assert.deepEqual(
    [0, 1].map((row) => table.at(row).captions.map(({ text, weight = 1 }) => [text, weight])),
    [
      [
        ["caption of a", 1],
        ["chatgpt on a", 1],
        ["bard on a", 0.5],
      ],
      [
        ["caption of b", 1],
        ["chatgpt on b", 1],
        ["bard on b", 0.25],
      ],
    ],
  );
  const plain = await rewritesOf(
    pairs,
    ["a", "b"].map((id) => ({ id, source: "chatgpt", text: `on ${id}` })),
  );
  const weights = (await joinRewrites(pairs, plain)).samples.at(0).captions.map(({ weight }) => weight);
  assert.deepEqual(weights, [undefined, undefined]);
});
