import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError, UsageError } from "../../support/index.ts";
import { builtInSources, chooseSources, drawExamples, fusionSource, hashOfPairs, outputsOf } from "./pairs.ts";
import { readPairsFile } from "./pairs-file.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-pairs-"));
after(() => rmSync(folder, { recursive: true }));

const file = (value: unknown): string => {
  const path = join(folder, "pairs.json");
  writeFileSync(path, JSON.stringify(value));
  return path;
};
const words = (text: string): number => text.split(/\s+/).length;
const mean = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0) / numbers.length;

test("four sources of 16, in the paper's order and manner, without repeats or characters that the prompt uses", () => {
  assert.deepEqual(
    builtInSources.map(({ name }) => name),
    ["chatgpt", "bard", "mscoco", "human"],
  );
  const everything: string[] = [];
  for (const { pairs, groups, provenance } of builtInSources) {
    assert.equal((pairs ?? groups)!.length, 16);
    assert.match(provenance, /written for laclip/);
    for (const group of groups ?? []) assert.equal(group.length, 5);
    everything.push(...(pairs ?? groups)!.flat());
  }
  assert.equal(new Set(everything.map((text) => text.toLowerCase())).size, everything.length);
  for (const text of everything) assert.doesNotMatch(text, /=>|[\p{Cc}\u2028\u2029]|^\s|\s$| {2}/u);
});

test("texts have the lengths of their manner: chat models embellish, people stay sober, MSCOCO is short", () => {
  const lengths = Object.fromEntries(builtInSources.map((source) => [source.name, mean(outputsOf(source).map((text) => words(text)))]));
  const { chatgpt, bard, mscoco, human } = lengths as Record<"chatgpt" | "bard" | "mscoco" | "human", number>;
  assert.ok(mscoco > 9 && mscoco < 12, `mscoco ${mscoco}`);
  assert.ok(human > 13 && human < 16, `human ${human}`);
  assert.ok(chatgpt > 16 && chatgpt < bard && bard < 21, `chatgpt ${chatgpt}, bard ${bard}`);
  for (const { pairs } of builtInSources) for (const [, output] of pairs ?? []) assert.ok(words(output) <= 30);
});

test("the examples of merging are 16 different triples whose output takes from both and is no list of the two", () => {
  const { triples, provenance } = fusionSource;
  assert.equal(triples!.length, 16);
  assert.match(provenance, /written for laclip/);
  assert.equal(new Set(triples!.flat()).size, 48);
  const stems = (text: string): Set<string> => new Set((text.toLowerCase().match(/\p{L}{4,}/gu) ?? []).map((word) => word.slice(0, 4)));
  for (const [input, second, output] of triples!) {
    const found = stems(output);
    for (const part of [input, second])
      assert.ok(
        [...stems(part)].some((stem) => found.has(stem)),
        `${output} takes nothing from ${part}`,
      );
    assert.ok(words(output) < 30 && !output.includes(second));
    assert.doesNotMatch(output, /stock|wallpaper|shipping|sale|IMG_|!|\|/i);
  }
});

test("a draw depends on run seed, source and caption id alone", () => {
  const [chatgpt, bard] = chooseSources(["chatgpt", "bard"]);
  assert.deepEqual(drawExamples(chatgpt!, 1, "a"), drawExamples(chatgpt!, 1, "a"));
  const seeds = [
    drawExamples(chatgpt!, 1, "a"),
    drawExamples(chatgpt!, 2, "a"),
    drawExamples(chatgpt!, 1, "b"),
    drawExamples(bard!, 1, "a"),
  ].map(({ seed }) => seed);
  assert.equal(new Set(seeds).size, 4);
  for (const seed of seeds) assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31);
});

test("three different pairs are drawn, all about as often; an MSCOCO pair is two captions of one scene", () => {
  for (const source of builtInSources) {
    const counts = new Map<string, number>();
    for (let i = 0; i < 3200; i++) {
      const { examples } = drawExamples(source, 0, `id-${i}`);
      const drawn = examples.map(({ id }) => id.split(":")[0]!);
      assert.equal(new Set(drawn).size, 3);
      for (const id of drawn) counts.set(id, (counts.get(id) ?? 0) + 1);
      for (const { id, input, output } of examples) {
        assert.notEqual(input, output);
        if (!source.groups) continue;
        const [, group, from, to] = /^mscoco\/(\d+):(\d)>(\d)$/.exec(id)!.map(Number);
        assert.equal(source.groups[group! - 1]![from! - 1], input);
        assert.equal(source.groups[group! - 1]![to! - 1], output);
      }
    }
    // 3,200 draws of 3 out of 16 give 600 each, with a deviation of 22.
    assert.equal(counts.size, 16);
    for (const [id, count] of counts) assert.ok(count > 500 && count < 700, `${id} was drawn ${count} times`);
  }
});

test("an unknown source is refused with those there are, a source of one's own goes before a built-in one", () => {
  assert.throws(
    () => chooseSources(["chatgtp"]),
    (error) => error instanceof UsageError && /chatgtp/.test(error.message) && /"chatgpt"/.test(error.mend ?? ""),
  );
  const [own] = readPairsFile(
    file({ name: "human", label: "by friends", pairs: [1, 2, 3].map((n) => ({ input: `in ${n}`, output: `out ${n}` })) }),
  );
  assert.equal(chooseSources(["human"], [own!])[0], own);
  assert.equal(own!.provenance, "by friends");
  assert.notEqual(hashOfPairs(own!), hashOfPairs(chooseSources(["human"])[0]!));
  const many = readPairsFile(
    file([
      {
        name: "scenes",
        groups: [
          ["a b", "c d"],
          ["e f", "g h"],
          ["i j", "k l"],
        ],
      },
    ]),
  );
  assert.equal(drawExamples(many[0]!, 0, "x").examples.length, 3);
});

test("a pairs file that would not work in a prompt is refused with its fault", () => {
  const pairs = [1, 2, 3].map((n) => ({ input: `in ${n}`, output: `out ${n}` }));
  assert.throws(() => readPairsFile(file({ name: "x", pairs: pairs.slice(1) })), DataError);
  assert.throws(() => readPairsFile(file({ name: "x", pairs, groups: [] })), DataError);
  assert.throws(() => readPairsFile(file({ name: "x", pair: pairs })), /pair/);
  assert.throws(() => readPairsFile(file({ name: "bad name", pairs })), /letters, digits/);
  assert.throws(
    () => readPairsFile(file({ name: "x", pairs: [...pairs, { input: "a => b", output: "c d" }] })),
    /source "x", field pairs.3.input: this text holds "=>"/,
  );
  assert.throws(
    () => readPairsFile(file({ name: "x", pairs: [...pairs, { input: "a\nb", output: "c d" }] })),
    /pairs.3.input: this text holds a line break/,
  );
  assert.throws(() => readPairsFile(join(folder, "none.json")), /no such pairs file/);
});
