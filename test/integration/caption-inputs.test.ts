/** Captions in the forms in which the data sets of the paper come: Conceptual Captions, LAION, RedCaps, webdataset. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeParquet } from "../../src/formats/index.ts";
import { openCaptions } from "../../src/rewriting/index.ts";
import type { CaptionRow, CaptionsOptions } from "../../src/rewriting/index.ts";
import { DataError, UsageError } from "../../src/support/index.ts";
import { writeTar } from "./tar-files.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-inputs-"));
after(() => rmSync(folder, { recursive: true }));

function write(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, content);
  return path;
}

async function read(path: string, options?: CaptionsOptions): Promise<CaptionRow[]> {
  const rows: CaptionRow[] = [];
  for await (const batch of (await openCaptions(path, options)).rows())
    for (const { id, caption, second } of batch) rows.push(second === undefined ? { id, caption } : { id, caption, second });
  return rows;
}

async function survey(path: string, options?: CaptionsOptions): Promise<unknown> {
  return await (await openCaptions(path, options)).survey();
}

const hash = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);
const refused = (pattern: RegExp) => (error: unknown) => error instanceof DataError && pattern.test(error.message);

test("Conceptual Captions: a tsv without a header line, caption and address in either order, quotes as they are", async () => {
  const [one, two] = ["http://example.com/1.jpg", "https://example.com/2.jpg?a=b"];
  const rows = [
    { id: hash(one), caption: '"hello , " said the dog' },
    { id: hash(two), caption: "# a cat" },
  ];
  const path = write("Train_GCC-training.tsv", `"hello , " said the dog\t${one}\n# a cat\t${two}\n`);
  assert.deepEqual(await read(path), rows);
  assert.equal((await openCaptions(path)).idFrom, "a hash of the image's address");
  assert.deepEqual(await read(write("cc12m.tsv", `${one}\t"hello , " said the dog\n${two}\t# a cat\n`)), rows);
});

test("LAION: parquet with URL and TEXT, ids from a column or a hash of some", async () => {
  const path = join(folder, "laion.parquet");
  await writeParquet(path, { SAMPLE_ID: "integer", URL: "text", TEXT: "text", similarity: "number" }, [
    {
      rows: 2,
      columns: { SAMPLE_ID: [5, 2_000_000_000_001], URL: ["http://a", "http://a"], TEXT: ["a dog", "a cat"], similarity: [0.3, null] },
    },
  ]);
  assert.deepEqual(await read(path, { idColumn: "SAMPLE_ID" }), [
    { id: "5", caption: "a dog" },
    { id: "2000000000001", caption: "a cat" },
  ]);
  assert.deepEqual(
    (await read(path)).map(({ id }) => id),
    [hash("http://a"), hash("http://a")],
  );
  await assert.rejects(survey(path), refused(/row 2: the id "[0-9a-f]{16}" occurs twice with different captions/));
  assert.deepEqual(
    (await read(path, { idColumn: "hash:URL,TEXT" })).map(({ id }) => id),
    [hash("http://a\na dog"), hash("http://a\na cat")],
  );
  await assert.rejects(read(path, { idColumn: "hash:url" }), refused(/no column "url".*SAMPLE_ID, URL/));
});

test("RedCaps: a folder of annotation files, or one; COCO's too", async () => {
  const annotation = (image_id: string, raw_caption: string, caption?: string): object => ({
    image_id,
    author: "somebody",
    url: `https://i.redd.it/${image_id}.jpg`,
    raw_caption,
    ...(caption === undefined ? {} : { caption }),
    score: 1.5,
  });
  const first = write("redcaps/dogs_2019.json", JSON.stringify({ info: {}, annotations: [annotation("b1", "My DOG!!", "my dog")] }));
  write("redcaps/cats_2019.json", JSON.stringify({ annotations: [annotation("a1", "a cat"), annotation("a2", "")] }));
  assert.deepEqual(await read(join(folder, "redcaps")), [
    { id: "a1", caption: "a cat" },
    { id: "a2", caption: "" },
    { id: "b1", caption: "my dog" },
  ]);
  assert.deepEqual(await read(first, { captionColumn: "raw_caption", idColumn: "hash:url" }), [
    { id: hash("https://i.redd.it/b1.jpg"), caption: "My DOG!!" },
  ]);
  const coco = write("coco.json", JSON.stringify({ annotations: [{ image_id: 9, id: 17, caption: "A dog." }, { image_id: 9, id: 18, caption: "One dog." }] })); // prettier-ignore
  assert.deepEqual(await read(coco), [
    { id: "17", caption: "A dog." },
    { id: "18", caption: "One dog." },
  ]);
  await assert.rejects(read(write("list.json", '[{"caption": "a"}]')), refused(/list\.json: this is a list/));
  await assert.rejects(read(write("half.json", '{"annotations": [{"caption": "a"')), refused(/half\.json: this file is not valid JSON/));
  await assert.rejects(read(write("other.json", '{"captions": []}')), refused(/no list `annotations`/));
  await assert.rejects(
    read(write("odd.json", '{"annotations": [{"caption": "a", "id": 1}, 7]}')),
    refused(/annotation 2 is not an object/),
  );
});

test("webdataset: captions from .txt or .json, ids are keys; pictures are passed over", async () => {
  const picture = Buffer.alloc(100_000, 7);
  mkdirSync(join(folder, "shards"));
  await writeTar(join(folder, "shards", "00000.tar"), [
    ["000000000.jpg", picture],
    ["000000000.json", { caption: "from the json", url: "http://a", caption_machine: "a brown dog" }],
    ["000000000.txt", "\ufeffa dog\n"],
    ["a.b/000000001.cls.txt", "no caption, its suffix is cls.txt"],
    ["a.b/000000001.JSON", '{"Text": "a cat", "similarity": NaN, "key": "000000001"}'],
    ["a.b/000000001.png", picture],
    ["__meta__/info.txt", "not a sample"],
    ["README", "no suffix"],
    ["000000002.jpg", picture],
  ]);
  await writeTar(join(folder, "shards", "00001.tar"), [
    ["x.txt", "one"],
    ["x.txt", "again: a suffix that repeats begins a sample"],
  ]);
  const first = [
    { id: "000000000", caption: "a dog\n" },
    { id: "a.b/000000001", caption: "a cat" },
    { id: "000000002", caption: "" },
  ];
  const second = [
    { id: "x", caption: "one" },
    { id: "x", caption: "again: a suffix that repeats begins a sample" },
  ];
  assert.deepEqual(await read(join(folder, "shards")), [...first, ...second]);
  assert.deepEqual(await read(join(folder, "shards", "{00000..00001}.tar")), [...first, ...second]);
  assert.deepEqual(await read(join(folder, "shards", "0000{1,0}.tar")), [...second, ...first]);
  assert.deepEqual(await read(join(folder, "shards", "00000.tar"), { captionColumn: "caption", secondColumn: "caption_machine", idColumn: "hash:url" }), [
    { id: hash("http://a"), caption: "from the json", second: "a brown dog" },
    { id: "", caption: "", second: "" },
    { id: "", caption: "", second: "" },
  ]); // prettier-ignore
  await assert.rejects(survey(join(folder, "shards")), refused(/00001\.tar, sample x: the id "x" occurs twice/));
});

test("webdataset: what is missing, cut off or no text is named", async () => {
  const tar = await writeTar(join(folder, "one.tar"), [["k.txt", "a dog"], ["l.txt", "a cat"]]); // prettier-ignore
  await assert.rejects(openCaptions(join(folder, "missing-{0..3}.tar")), refused(/4 of 4 tars are missing\. First: .*missing-0\.tar/));
  for (const [address, pattern] of [
    ["pipe:aws s3 cp s3://x/y.tar -", /commands are not run/],
    ["gs://x/{0..1}.tar", /gs:\/\/x\/0\.tar: addresses of this kind are not read/],
    ["https://ann:sesame@x/captions.csv?sesame", /https:\/\/x\/captions\.csv: only tars are read from addresses/],
  ] as const)
    await assert.rejects(openCaptions(address), (error) => error instanceof UsageError && pattern.test(error.message));
  const cut = write("cut.tar", readFileSync(tar).subarray(0, 1024));
  await assert.rejects(read(cut), refused(/cut\.tar: this tar is damaged/));
  const latin = await writeTar(join(folder, "latin.tar"), [["k.txt", Buffer.from("caf\xe9", "latin1")]]);
  await assert.rejects(read(latin), refused(/latin\.tar: the member k\.txt is not valid UTF-8/));
  const half = await writeTar(join(folder, "half.tar"), [["k.json", '{"caption": "a']]);
  await assert.rejects(read(half), refused(/half\.tar: the member k\.json is not valid JSON/));
  const bare = await writeTar(join(folder, "bare.tar"), [["k.jpg", "x"], ["k.cls", "3"]]); // prettier-ignore
  await assert.rejects(survey(bare), refused(/none of its 1 rows has a caption/));
});

test("lines and tables that are not UTF-8, begin with a byte order mark, or are torn", async () => {
  const latin = Buffer.concat([Buffer.from("one\r\ntwo\n"), Buffer.from("caf\xe9\nfour\n", "latin1")]);
  await assert.rejects(read(write("latin.txt", latin)), refused(/latin\.txt: line 3 is not valid UTF-8/));
  assert.deepEqual(
    (await read(write("mark.txt", "\ufeffone\ntwo"))).map(({ caption }) => caption),
    ["one", "two"],
  );
  assert.deepEqual(await read(write("mark.csv", "\ufeffid,caption\n1,a dog\n")), [{ id: "1", caption: "a dog" }]);
  for (const [name, content, pattern] of [
    ["latin.csv", Buffer.from("id,caption\n1,a dog\n2,caf\xe9\n", "latin1"), /latin\.csv: line 3 can't be read: it is not valid UTF-8/],
    ["torn.jsonl", '{"id":"1","caption":"a dog"}\n{"id":"2","capt\n', /torn\.jsonl: .*line [23]/],
    ["mark.jsonl", '\ufeff{"id":"1","caption":"a dog"}\n', /mark\.jsonl: .*byte order mark/],
    ["short.csv", "id,caption\n1,a dog\n2\n3,a cat\n", /short\.csv: .*[Ll]ine:? 3/],
    ["long.csv", "id,caption\n1,a dog\n2,a, cat\n3,a bird\n", /long\.csv: .*[Ll]ine:? 3/],
  ] as const)
    await assert.rejects(read(write(name, content)), refused(pattern), name);
  await assert.rejects(openCaptions(join(folder, "mark.txt"), { idColumn: "id" }), UsageError);
});
