import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { RewritesFolder, captionsFingerprint, readManifest } from "../data/index.ts";
import { DataError, FolderLock, setLogLevel } from "../support/index.ts";
import { type Concept, readConcepts } from "./concepts.ts";
import { drawingStyles } from "./drawing-styles.ts";
import { packageJson } from "./emoji-packages.ts";
import { type EmojiSample, trainingStyles } from "./emoji-world.ts";
import { writeHumanRewrites } from "./human-rewrites.ts";
import { type Annotator, humanSources, humanTexts } from "./human-texts.ts";
import { phraseKey, plainWords, wordsOf } from "./words.ts";

setLogLevel("quiet");
const scratch = mkdtempSync(join(tmpdir(), "laclip-human-"));
after(() => rmSync(scratch, { recursive: true }));

let concepts: Concept[];
before(() => {
  concepts = readConcepts(Object.values(drawingStyles()));
});

test("every picture gets four different texts of two words or more, none of them its caption", () => {
  for (const concept of concepts) {
    for (const style of trainingStyles) {
      const texts = humanTexts(`${style}/${concept.hexcode}`, concept);
      assert.deepEqual(
        texts.map(({ source }) => source),
        [...humanSources],
      );
      const keys = new Set([concept.name, ...texts.map(({ text }) => text)].map(phraseKey));
      assert.equal(keys.size, 5, `${concept.name}: ${texts.map(({ text }) => text).join(" | ")}`);
      for (const { text } of texts) {
        assert.ok(wordsOf(text).length >= 2, text);
        assert.ok(text.split(" ").length >= 2, `${text}: training counts words by blanks`);
        assert.doesNotMatch(text, /[_\n]|^[,\s]|[,\s]$/);
      }
    }
  }
});

test("the same picture gets the same texts, another drawing of the same thing other ones", () => {
  const camel = concepts.find(({ name }) => name === "two-hump camel")!;
  assert.deepEqual(humanTexts("noto/1F42B", camel), humanTexts("noto/1F42B", camel));
  const all = trainingStyles.flatMap((style) => humanTexts(`${style}/1F42B`, camel).map(({ text }) => text));
  assert.ok(new Set(all).size > 6, all.join(" | "));
});

/** What each annotator wrote about each emoji, read from the packages anew and cleaned only of underscores and pictographs. */
function originals(): Record<Annotator, (hexcode: string) => string[]> {
  type Entry = { hexcode: string; label: string; subgroup: number; tags?: string[] };
  const byCode = <T extends { hexcode: string }>(list: T[]): Map<string, T> => new Map(list.map((entry) => [entry.hexcode, entry]));
  const english = byCode(packageJson<Entry[]>("emojibase-data", "en/data.json"));
  const british = byCode(packageJson<Entry[]>("emojibase-data", "en-gb/data.json"));
  const openmoji = byCode(packageJson<{ hexcode: string; openmoji_tags: string }[]>("openmoji", "data/openmoji.json"));
  const subgroups = packageJson<{ subgroups: Record<string, string> }>("emojibase-data", "meta/groups.json").subgroups;
  const unicode = packageJson<Record<string, string>>("emojibase-data", "meta/unicode-names.json");
  const platform = (name: string): ((hexcode: string) => string[]) => {
    const codes = packageJson<Record<string, string | string[]>>("emojibase-data", `en/shortcodes/${name}.json`);
    return (hexcode) => [codes[hexcode] ?? []].flat();
  };
  return {
    cldr: (hexcode) => [english, british].flatMap((entries) => [entries.get(hexcode)?.label ?? "", ...(entries.get(hexcode)?.tags ?? [])]),
    "cldr-british": (hexcode) => [british.get(hexcode)?.label ?? ""],
    openmoji: (hexcode) => (openmoji.get(hexcode)?.openmoji_tags ?? "").split(","),
    "unicode-groups": (hexcode) => (subgroups[String(english.get(hexcode)?.subgroup)] ?? "").split("-"),
    unicode: (hexcode) => [unicode[hexcode]?.toLowerCase() ?? ""],
    github: platform("github"),
    iamcal: platform("iamcal"),
    joypixels: platform("joypixels"),
    emojibase: platform("emojibase"),
  };
}

test("every word of a human text was written about that emoji by the annotator it is credited to", () => {
  const wrote = originals();
  for (const concept of concepts) {
    for (const { text, pieces } of humanTexts(`noto/${concept.hexcode}`, concept)) {
      for (const piece of pieces) {
        assert.ok(piece.by.length > 0);
        for (const annotator of piece.by) {
          const theirs = wrote[annotator](concept.hexcode).map((words) => phraseKey(plainWords(words)).replace(/\d+$/, ""));
          assert.ok(theirs.includes(phraseKey(piece.text).replace(/\d+$/, "")), `"${piece.text}" (${concept.name}) is not by ${annotator}`);
        }
      }
      const ours = pieces.reduce((rest, piece) => rest.replace(piece.text, ""), text);
      assert.match(ours, /^(?:, | and )*$/, `"${text}" has words of its own`);
    }
  }
});

test("words that only the evaluation's annotator wrote about an emoji are in none of its human texts", () => {
  const wrote = originals();
  const library = packageJson<Record<string, string[]>>("emojilib", "dist/emoji-en-US.json");
  let guarded = 0;
  for (const concept of concepts) {
    const trainable = new Set(Object.values(wrote).flatMap((of) => of(concept.hexcode).flatMap((text) => wordsOf(plainWords(text)))));
    const entry = Object.entries(library).find(([emoji]) => emoji.replaceAll("\u{FE0F}", "") === concept.emoji.replaceAll("\u{FE0F}", ""));
    const reserved = new Set((entry?.[1] ?? []).flatMap((text) => wordsOf(plainWords(text))).filter((word) => !trainable.has(word)));
    guarded += reserved.size;
    for (const style of trainingStyles) {
      for (const { text } of humanTexts(`${style}/${concept.hexcode}`, concept)) {
        // A short code loses a trailing number ("cow2"), which may leave a word that nobody wrote with that spelling.
        const leaked = wordsOf(text).filter((word) => reserved.has(word) && ![...trainable].some((other) => other.startsWith(word)));
        assert.deepEqual(leaked, [], `${concept.name}: ${text}`);
      }
    }
  }
  assert.ok(guarded > 1000, `the test guards only ${guarded} words`);
});

function samples(count: number): EmojiSample[] {
  return concepts
    .slice(0, count)
    .map((concept) => ({ id: `noto/${concept.hexcode}`, image: "", caption: concept.name, style: "noto", concept }));
}

test("the rewrites folder holds all texts by sample id, and says that people wrote them", async () => {
  const world = { samples: samples(20), packages: { openmoji: "17.0.0" } };
  const path = await writeHumanRewrites(world, join(scratch, "human"));
  const manifest = readManifest(path);
  assert.deepEqual(Object.keys(manifest.sources), [...humanSources]);
  assert.deepEqual({ count: manifest.dataset.count, hash: manifest.dataset.hash }, captionsFingerprint(world.samples));
  for (const source of Object.values(manifest.sources)) {
    assert.equal(source.engine, "people");
    assert.match(source.provenance, /written by people.*openmoji 17\.0\.0/);
  }
  const found = new Map<string, string>();
  for await (const batch of new RewritesFolder(path, manifest).read())
    for (const { id, source, text } of batch) found.set(`${id} ${source}`, text);
  assert.equal(found.size, 80);
  for (const { id, concept } of world.samples) {
    for (const { source, text } of humanTexts(id, concept)) assert.equal(found.get(`${id} ${source}`), text);
  }
});

test("a rewrites folder that is complete stays, a damaged or outdated one is written again, another folder is refused", async () => {
  const folder = join(scratch, "again");
  const world = { samples: samples(10), packages: {} };
  await writeHumanRewrites(world, folder);
  const made = statSync(join(folder, "manifest.json"));
  await writeHumanRewrites(world, folder);
  assert.equal(statSync(join(folder, "manifest.json")).mtimeMs, made.mtimeMs);

  const part = join(folder, "parts", readdirSync(join(folder, "parts"))[0]!);
  const whole = readFileSync(part);
  truncateSync(part, 50);
  await writeHumanRewrites(world, folder);
  assert.equal(readFileSync(part).length, whole.length);

  await writeHumanRewrites({ samples: samples(11), packages: {} }, folder);
  assert.equal(readManifest(folder).dataset.count, 11);

  const foreign = mkdtempSync(join(scratch, "foreign-"));
  writeFileSync(join(foreign, "letter.txt"), "dear diary");
  await assert.rejects(writeHumanRewrites(world, foreign), DataError);
  assert.equal(readFileSync(join(foreign, "letter.txt"), "utf8"), "dear diary");
});

test("rewrites of another writer, unreadable manifests and other files are never removed, nor what another process writes", async () => {
  const folder = join(scratch, "careful");
  const world = { samples: samples(5), packages: {} };
  const file = join(folder, "manifest.json");
  await writeHumanRewrites({ samples: samples(6), packages: {} }, folder);
  const own = readFileSync(file, "utf8");
  const part = join(folder, "parts", readdirSync(join(folder, "parts"))[0]!);
  const texts = readFileSync(part);
  const refuse = async (message: RegExp): Promise<void> => {
    const manifest = readFileSync(file, "utf8");
    await assert.rejects(writeHumanRewrites(world, folder), (error: unknown) => {
      assert.ok(error instanceof DataError);
      assert.match(error.message, message);
      return true;
    });
    assert.equal(readFileSync(file, "utf8"), manifest);
    assert.deepEqual(readFileSync(part), texts);
  };

  writeFileSync(file, own.replace('"engine": "people"', '"engine": "llama-cpp"'));
  await refuse(/holds rewrites from source "human-names", written by/);
  writeFileSync(file, '{ "name": "of a web extension" }');
  await refuse(/can't be told who wrote/);
  writeFileSync(file, own.slice(0, 100));
  await refuse(/can't be told who wrote/);
  writeFileSync(file, own);
  writeFileSync(join(folder, "notes.txt"), "mine");
  await refuse(/holds other files \("notes\.txt"\)/);
  rmSync(join(folder, "notes.txt"));

  const busy = FolderLock.take(join(folder, "lock"), "rewrites folder");
  await refuse(/is being written by process/);
  busy.release();
  await writeHumanRewrites(world, folder);
  assert.equal(readManifest(folder).dataset.count, 5);
  assert.equal(await new RewritesFolder(folder, readManifest(folder)).count(), 20);
});
