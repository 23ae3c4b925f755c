import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { DataError } from "../support/index.ts";
import { hashedId } from "./hashed-ids.ts";
import { imageInput, imageName } from "./image-source.ts";
import { openLoader } from "./loader.ts";
import { openPairs } from "./pairs.ts";

const photo = fileURLToPath(new URL("../../../test/parity/images/files/photo.jpg", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "laclip-pairs-"));
after(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, "img"));
for (let i = 0; i < 8; i++) copyFileSync(photo, join(folder, "img", `${i}.jpg`));

function table(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function captions(file: string): Promise<string[]> {
  const { samples } = await openPairs({ file });
  return Array.from({ length: samples.length }, (_, row) => samples.at(row).captions[0]!.text);
}

test("csv with quotes, separators, line ends and hash signs in captions", async () => {
  const file = table(
    "a.csv",
    'caption,filepath\n"a ""big"" dog,\nrunning",img/0.jpg\n# not a comment,img/1.jpg\n007,img/2.jpg\n  x y ,img/3.jpg\nNULL,img/4.jpg\n',
  );
  const { samples, rows } = await openPairs({ file });
  assert.equal(rows, 5);
  assert.deepEqual(await captions(file), ['a "big" dog,\nrunning', "# not a comment", "007", "  x y ", "NULL"]);
  assert.deepEqual(samples.at(0), {
    id: "img/0.jpg",
    image: join(folder, "img/0.jpg"),
    captions: [{ source: "original", text: 'a "big" dog,\nrunning' }],
  });
});

test("tsv, jsonl, an id column, named columns, and an image folder elsewhere", async () => {
  const tsv = await openPairs({ file: table("a.tsv", "Title\tImage\tid\na, b\timg/0.jpg\t007\n") });
  assert.deepEqual(tsv.samples.at(0).id, "007");
  assert.deepEqual(await captions(table("b.jsonl", '{"text": "x\\u2028y", "file": "img/1.jpg"}\n{"file": "img/2.jpg", "text": "z"}\n')), [
    "x\u2028y",
    "z",
  ]);
  const named = await openPairs({
    file: table("c.csv", "what,where,key\nsome words,2.jpg,k\n"),
    images: join(folder, "img"),
    imageColumn: "where",
    captionColumn: "what",
    idColumn: "key",
  });
  assert.deepEqual(named.samples.at(0), {
    id: "k",
    image: join(folder, "img/2.jpg"),
    captions: [{ source: "original", text: "some words" }],
  });
});

test("LaCLIP's csv without a header line keeps its first row", async () => {
  assert.deepEqual(await captions(table("cc3m.csv", 'img/0.jpg,first caption\nimg/1.jpg,"second, caption"\n')), [
    "first caption",
    "second, caption",
  ]);
});

test("a folder with captions.csv inside, absolute image paths", async () => {
  const inside = join(folder, "set");
  mkdirSync(inside);
  writeFileSync(join(inside, "captions.csv"), `image,caption\n${join(folder, "img/3.jpg")},hello there\n`);
  const { samples } = await openPairs({ file: inside });
  assert.equal(samples.at(0).image, join(folder, "img/3.jpg"));
  await assert.rejects(openPairs({ file: join(folder, "img") }), /holds no table of captions/);
});

test("a caption of 10,000 characters is kept whole", async () => {
  const long = "word ".repeat(2000);
  assert.deepEqual(await captions(table("long.csv", `image,caption\nimg/0.jpg,${long}\n`)), [long]);
});

test("a wrong column lists the columns there are", async () => {
  const file = table("wrong.csv", "picture,words\nimg/0.jpg,a dog\n");
  await assert.rejects(openPairs({ file }), /which column holds the caption\?.*Its columns are: picture, words/);
  await assert.rejects(openPairs({ file, captionColumn: "word" }), (error) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /no column "word".*picture, words/);
    assert.match(error.mend!, /"words"/);
    return true;
  });
  await assert.rejects(openPairs({ file, captionColumn: "words" }), /which column holds the image path/);
  const textOnly = table("text-only.csv", "id,caption\n1,a dog\n");
  await assert.rejects(openPairs({ file: textOnly }), /which column holds the image path\?.*id, caption/);
  for (const [name, content] of [
    ["published.tsv", "a dog\thttp://a/1.jpg\n"],
    ["addresses.csv", "URL,TEXT\nhttp://a/1.jpg,a dog\n"],
  ] as const) {
    await assert.rejects(openPairs({ file: table(name, content) }), (error) => {
      assert.ok(error instanceof DataError);
      assert.match(error.message, /a list of addresses/);
      assert.match(error.mend!, /img2dataset.*--id-column hash:url/);
      return true;
    });
  }
});

test("repeated ids are refused and named", async () => {
  const rows = "img/0.jpg,a b\nimg/1.jpg,c d\nimg/0.jpg,e f\n";
  await assert.rejects(
    openPairs({ file: table("twice.csv", `image,caption\n${rows}`) }),
    /1 of 3 ids \(column "image"\).*First: "img\/0.jpg"/,
  );
  await assert.rejects(
    openPairs({ file: table("ids.csv", "id,image,caption\n1,img/0.jpg,a\n1,img/1.jpg,b\n") }),
    /ids \(column "id"\).*First: "1"/,
  );
  await assert.rejects(
    openPairs({ file: table("no-id.csv", "id,image,caption\n1,img/0.jpg,a\n,img/1.jpg,b\n") }),
    /row 2 has no id \(column "id"\)/,
  );
});

test("rows without caption or image are counted, with a limit on their share", async () => {
  const file = table("gaps.csv", "image,caption\nimg/0.jpg,a b\nimg/9.jpg,c d\nimg/1.jpg,  \nimg/2.jpg,e f\n,g h\n");
  await assert.rejects(
    openPairs({ file }),
    /3 of 5 rows \(60 %\).*1 without a caption, 2 without an image file; allowed are 1 %.\n  row 2: no file img\/9.jpg/s,
  );
  await assert.rejects(openPairs({ file, maximumSkipped: 0.07 }), /allowed are 7 %\./, "as it was set");
  const { samples, skipped, rows, fingerprint } = await openPairs({ file, maximumSkipped: 0.6 });
  assert.deepEqual([samples.length, rows, skipped.emptyCaptions, skipped.missingImages], [2, 5, 1, 2]);
  assert.equal(fingerprint.count, 3, "a row whose image is missing was rewritten all the same");
  assert.equal((await openPairs({ file, checkImages: false, maximumSkipped: 0.6 })).samples.length, 3);
});

test("missing and empty tables, a missing image folder, an unknown format", async () => {
  await assert.rejects(openPairs({ file: join(folder, "none.csv") }), /no such file or folder/);
  await assert.rejects(openPairs({ file: table("empty.csv", "image,caption\n") }), /there are no rows/);
  await assert.rejects(openPairs({ file: table("nothing.csv", "") }), DataError);
  await assert.rejects(openPairs({ file: table("captions.xlsx", "x") }), DataError);
  await assert.rejects(
    openPairs({ file: table("a.csv", "image,caption\nx,y\n"), images: join(folder, "nowhere") }),
    /no such folder of images/,
  );
});

test("a broken jsonl line is a data error", async () => {
  await assert.rejects(openPairs({ file: table("bad.jsonl", '{"image":"img/0.jpg","caption":"a b"}\n{"image":\n') }), DataError);
});

test("a caption, an id or an image path that is a list or a record is refused, whichever column it comes from", async () => {
  for (const [row, options, says] of [
    ['{"image": "img/0.jpg", "caption": ["x y"]}', {}, /column "caption" holds lists/],
    ['{"image": "img/0.jpg", "caption": {"en": "x"}}', {}, /column "caption" holds records/],
    ['{"image": ["img/0.jpg"], "caption": "x"}', {}, /column "image" holds lists/],
    ['{"image": "img/0.jpg", "caption": "x", "id": ["a"]}', {}, /column "id" holds lists/],
    ['{"image": "img/0.jpg", "caption": "x", "urls": ["a"]}', { idColumn: "hash:urls" }, /column "urls" holds lists/],
    ['{"image": "img/0.jpg", "caption": "x", "blip": ["a"]}', { secondColumn: "blip" }, /column "blip" holds lists/],
  ] as const) {
    const file = table("nested.jsonl", `${row}\n`);
    await assert.rejects(openPairs({ file, ...options }), (error: unknown) => {
      assert.ok(error instanceof DataError && /name another column/.test(error.mend!));
      assert.match(error.message, says);
      return true;
    });
  }
  const file = table("beside.jsonl", '{"image": "img/0.jpg", "caption": "x", "tags": ["a", "b"]}\n');
  assert.deepEqual(await captions(file), ["x"]);
});

test("bytes in place of a caption are refused", async () => {
  const file = join(folder, "bytes.parquet");
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const connection = await (await DuckDBInstance.create()).connect();
  await connection.run(`COPY (SELECT 'img/0.jpg' AS image, 'a dog'::BLOB AS caption) TO '${file}'`);
  connection.closeSync();
  await assert.rejects(openPairs({ file }), /row 1 has bytes in column "caption"; expected text/);
});

test("parquet that holds its images, as Hugging Face stores them: read once, then any of them at any time", async () => {
  const bytes = readFileSync(photo);
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const connection = await (await DuckDBInstance.create()).connect();
  const blob = [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  const file = join(folder, "held.parquet");
  await connection.run(
    `COPY (SELECT {'bytes': CASE WHEN i = 5 THEN NULL ELSE '${blob}'::BLOB END, 'path': i || '.jpg'} AS image, 'caption of ' || i AS text
     FROM range(8) AS r(i)) TO '${file}' (FORMAT parquet)`,
  );
  await connection.run(
    `COPY (SELECT '${blob}'::BLOB AS image, 'words number ' || i AS caption FROM range(3) AS r(i)) TO '${join(folder, "plain.parquet")}' (FORMAT parquet)`,
  );
  const nameless = join(folder, "nameless.parquet");
  await connection.run(`COPY (SELECT {'bytes': '${blob}'::BLOB, 'path': NULL::VARCHAR} AS image, 'a dog' AS text) TO '${nameless}'`);
  connection.closeSync();
  const { samples, skipped } = await openPairs({ file, maximumSkipped: 0.2, workFolder: folder });
  assert.deepEqual([samples.length, skipped.missingImages], [7, 1]);
  const sample = samples.at(6);
  assert.deepEqual([sample.id, sample.captions[0]!.text], ["7.jpg", "caption of 7"]);
  assert.deepEqual(Buffer.from((await imageInput(sample.image)) as Uint8Array), bytes);
  assert.equal(imageName(sample.image), "7.jpg");
  await assert.rejects(openPairs({ file: nameless }), (error: unknown) => {
    assert.ok(error instanceof DataError && /row 1 has no id \(column "image\.path"\)/.test(error.message));
    const [, idColumn] = /`--id-column (\S+)`/.exec(error.mend!)!;
    assert.equal(idColumn, "hash:text");
    return true;
  });
  assert.equal((await openPairs({ file: nameless, idColumn: "hash:text" })).samples.at(0).id, hashedId("a dog"));
  const plain = await openPairs({ file: join(folder, "plain.parquet") });
  assert.equal(plain.samples.at(2).id, hashedId("words number 2"));
  const settings = { batchSize: 4, imageSize: 16, seed: 1, choose: "original", totalSteps: 1 } as const;
  for await (const { ids } of openLoader({ samples, ...settings })) assert.equal(ids.length, 4);
  assert.equal(readdirSync(folder).filter((name) => name.startsWith(".laclip")).length, 0);
});
