import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import sharp from "sharp";
import { DataError, UsageError, setLogLevel } from "../support/index.ts";
import { isConcept, readConcepts } from "./concepts.ts";
import { drawingStyles } from "./drawing-styles.ts";
import { type EmojiWorld, buildEmojiWorld, heldOutStyle, renderSvg, trainingStyles } from "./emoji-world.ts";
import { otherWords } from "./evaluation-words.ts";
import { wordsOf } from "./words.ts";

setLogLevel("quiet");
const scratch = mkdtempSync(join(tmpdir(), "laclip-world-"));
after(() => rmSync(scratch, { recursive: true }));

const limit = 12;
const build = (name: string): Promise<EmojiWorld> => buildEmojiWorld({ out: join(scratch, name), limit });

test("flags, skin tones, joined sequences and other groups are no concepts", () => {
  assert.ok(isConcept("1F408", 3), "cat");
  assert.ok(isConcept("1F3D5-FE0F", 5), "camping, with a variation selector");
  const excluded: [string, number | undefined, string][] = [
    ["1F408-200D-2B1B", 3, "black cat is a joined sequence"],
    ["1F3C3-1F3FD", 6, "a skin tone"],
    ["1F1E9-1F1EA", 5, "a flag of two letters"],
    ["1F3F4-E0067-E0062-E007F", 5, "a flag of tags"],
    ["1F3F3-FE0F", 6, "a white flag"],
    ["1F600", 0, "a smiley"],
    ["1F3C1", 9, "a flag's group"],
    ["1F1E6", undefined, "no group"],
  ];
  for (const [hexcode, group, what] of excluded) assert.equal(isConcept(hexcode, group), false, what);
});

test("the full world has the concepts that all four styles have drawn, each with its own name", () => {
  const styles = Object.values(drawingStyles());
  const concepts = readConcepts(styles);
  assert.ok(concepts.length > 700, `only ${concepts.length} concepts`);
  assert.equal(new Set(concepts.map((concept) => concept.name)).size, concepts.length);
  for (const { hexcode } of concepts) {
    assert.doesNotMatch(hexcode, /200D|1F3F[B-F]/);
    for (const style of styles) assert.match(style.svg(hexcode), /<svg/);
  }
});

test("the evaluation's other words share no word with the caption", () => {
  assert.deepEqual(otherWords(["grinning_face", "faces", "smile", ":D", "SMILE", "🚓 cop", "6"], "grinning face"), ["smile", "cop"]);
  for (const { name } of readConcepts(Object.values(drawingStyles()))) {
    for (const text of otherWords([name, `${name} party`, "something_else"], name)) assert.equal(text, "something else");
  }
});

test("a world holds decodable pictures on white, a csv that names them, and a held-out style with its questions", async () => {
  const world = await build("whole");
  assert.equal(world.reused, false);
  assert.equal(world.concepts.length, limit);
  assert.equal(world.samples.length, limit * trainingStyles.length);

  const lines = readFileSync(world.trainCsv, "utf8").trimEnd().split("\n");
  assert.equal(lines[0], "id,image,caption");
  assert.equal(lines.length - 1, world.samples.length);
  for (const [row, sample] of world.samples.entries()) {
    assert.equal(lines[row + 1], `${sample.id},images/${sample.id}.png,${sample.caption}`);
    const { data, info } = await sharp(sample.image).raw().toBuffer({ resolveWithObject: true });
    assert.deepEqual([info.width, info.height, info.channels], [64, 64, 3]);
    const painted = data.filter((value) => value < 250).length / data.length;
    assert.ok(painted > 0.02, `${sample.id} is an empty picture (${painted})`);
  }

  const own = JSON.parse(readFileSync(world.heldOut.ownWords, "utf8")) as Record<string, string[]>;
  const other = JSON.parse(readFileSync(world.heldOut.otherWords, "utf8")) as Record<string, string[]>;
  for (const { hexcode, name } of world.concepts) {
    assert.ok(existsSync(world.heldOut.image(hexcode)));
    assert.deepEqual(own[hexcode], [name]);
    assert.ok(other[hexcode]!.length > 0);
    for (const text of other[hexcode]!) for (const word of wordsOf(text)) assert.ok(!wordsOf(name).includes(word), `${name}: ${text}`);
  }
  assert.equal(readFileSync(world.heldOut.templates, "utf8"), "{}\n");
  assert.ok(!existsSync(join(world.folder, "images", heldOutStyle)), "the held-out style must not lie among the training images");
});

test("the same inputs give the same bytes", async () => {
  const [first, second] = [await build("first"), await build("second")];
  const read = (world: EmojiWorld): string => readFileSync(join(world.folder, "manifest.json"), "utf8");
  assert.equal(read(first), read(second));
  const sample = first.samples[5]!;
  assert.deepEqual(readFileSync(sample.image), readFileSync(second.samples[5]!.image));
});

test("a complete folder is used again; a damaged, incomplete or other one is drawn again", async () => {
  const world = await build("again");
  const made = statSync(world.trainCsv).mtimeMs;
  assert.equal((await build("again")).reused, true);
  assert.equal(statSync(world.trainCsv).mtimeMs, made);

  const image = world.samples[3]!.image;
  const whole = readFileSync(image);
  const damages: (() => void)[] = [
    () => truncateSync(image, 100),
    () => writeFileSync(image, Buffer.concat([whole.subarray(0, -20), Buffer.from([whole.at(-20)! ^ 1]), whole.subarray(-19)])),
    () => rmSync(world.heldOut.image(world.concepts[0]!.hexcode)),
    () => truncateSync(join(world.folder, "manifest.json"), 200),
    () => writeFileSync(join(world.folder, "manifest.json"), JSON.stringify({ format: "laclip-emoji-world" })),
  ];
  for (const damage of damages) {
    damage();
    assert.equal((await build("again")).reused, false, damage.toString());
    assert.deepEqual(readFileSync(image), whole, damage.toString());
    assert.equal((await build("again")).reused, true);
  }

  const smaller = await buildEmojiWorld({ out: join(scratch, "again"), limit: 5 });
  assert.equal(smaller.reused, false);
  assert.deepEqual(readdirSync(join(smaller.folder, "images", "noto")).length, 5);
  assert.deepEqual(readdirSync(join(scratch, "again")), ["data"], "nothing half made is left beside it");
});

test("a folder with anybody else's files is refused, and nothing in it is touched", async () => {
  const refuse = async (name: string, what: string): Promise<void> => {
    const before = readdirSync(join(scratch, name), { recursive: true }).toSorted();
    const error: unknown = await build(name).then(
      () => assert.fail(`${what}: it was drawn over`),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof DataError, what);
    assert.match(error.message, /holds other files|this is a file/, what);
    assert.match(error.mend ?? "", /another --out/, what);
    assert.deepEqual(readdirSync(join(scratch, name), { recursive: true }).toSorted(), before, what);
  };
  const put = (path: string, text = "mine"): void => {
    mkdirSync(join(scratch, path, ".."), { recursive: true });
    writeFileSync(join(scratch, path), text);
  };
  put("letters/data/letter.txt");
  await refuse("letters", "a folder of other things");
  put("table/data/train.csv");
  await refuse("table", "our names without a manifest");
  put("extension/data/manifest.json", '{ "format": "another" }');
  await refuse("extension", "another program's manifest");
  put("empty-manifest/data/manifest.json", "null");
  await refuse("empty-manifest", "a manifest that says nothing");
  put("cut/data/manifest.json", '{ "format": "lacl');
  await refuse("cut", "half a manifest without a world around it");
  put("file/data");
  await refuse("file", "a file");

  const { folder } = await build("notes");
  rmSync(join(folder, "train.csv"));
  put("notes/data/notes.txt");
  await refuse("notes", "somebody's notes in a damaged world");
  rmSync(join(folder, "notes.txt"));
  assert.equal((await build("notes")).reused, false);
  rmSync(join(folder, "manifest.json"));
  await refuse("notes", "a world whose manifest was deleted");

  mkdirSync(join(scratch, "empty", "data"), { recursive: true });
  assert.equal((await build("empty")).reused, false);
});

test("options that make no sense are refused", async () => {
  await assert.rejects(buildEmojiWorld({ out: scratch, size: 0 }), UsageError);
  await assert.rejects(buildEmojiWorld({ out: scratch, limit: 0 }), UsageError);
});

test("a drawing keeps its proportions and stands on white", async () => {
  const wide =
    '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><rect width="20" height="10" fill="#f00"/></svg>';
  const { data, info } = await sharp(await renderSvg(wide, 40))
    .raw()
    .toBuffer({ resolveWithObject: true });
  const pixel = (x: number, y: number): number[] => [...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)];
  assert.deepEqual([info.width, info.height, info.channels], [40, 40, 3]);
  assert.deepEqual(pixel(20, 20), [255, 0, 0]);
  assert.deepEqual(pixel(20, 3), [255, 255, 255]);
});
