/** Rewriting and training read the same table: they must agree on every id and on what the table is. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCollection, packShards } from "../../src/curation/index.ts";
import { defaultIdColumn, listShards, openPairs, openTarPairs, shardIndexName } from "../../src/data/index.ts";
import { openCaptions } from "../../src/rewriting/index.ts";
import { UsageError } from "../../src/support/index.ts";
import { writeCollection } from "./small-collection.ts";
import { writeTar } from "./tar-files.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-same-ids-"));
after(() => rmSync(folder, { recursive: true }));

const tables: Record<string, string> = {
  "header.csv": 'image,caption\na.jpg,"one, two"\nb.jpg,  \nc.jpg," spaces around "\n',
  "id.tsv": "Title\tFilePath\tID\na dog\ta.jpg\t007\na cat\tb.jpg\t8\n",
  "laclip.csv": "a.jpg,first line of all\nb.jpg,second line\n",
  "lines.jsonl": '{"text":"a \\u2028 b","path":"a.jpg"}\n{"text":null,"path":"b.jpg"}\n{"text":"c d","path":"c.jpg"}\n',
};

test("ids that are hashes", async () => {
  const file = join(folder, "addresses.csv");
  writeFileSync(file, "url,image,caption\nhttp://a/1.jpg,1.jpg,a dog\nhttp://a/2.jpg,2.jpg,a cat\n");
  const pairs = await openPairs({ file, checkImages: false, idColumn: "hash:url" });
  // As rewritten before the images were there: the same addresses and captions, in the form in which they were published.
  const published = join(folder, "published.tsv");
  writeFileSync(published, "a cat\thttp://a/2.jpg\na dog\thttp://a/1.jpg\n");
  assert.deepEqual((await (await openCaptions(published)).survey()).fingerprint, pairs.fingerprint);
  assert.deepEqual((await (await openCaptions(file, { idColumn: "hash:url" })).survey()).fingerprint, pairs.fingerprint);
  // As img2dataset leaves what it downloaded of that list, under numbers of its own.
  const tar = join(folder, "00000.tar");
  const downloaded = ["a dog", "a cat"].flatMap((caption, i): [string, string][] => [
    [`00000000${i}.jpg`, "an image"],
    [`00000000${i}.json`, JSON.stringify({ caption, url: `http://a/${i + 1}.jpg`, key: `00000000${i}`, status: "success" })],
    [`00000000${i}.txt`, caption],
  ]);
  await writeTar(tar, downloaded);
  const tars = await openTarPairs([tar], { name: tar, idColumn: "hash:url" });
  assert.deepEqual(tars.fingerprint, pairs.fingerprint);
  assert.deepEqual([tars.samples.id(0), tars.samples.id(1)], [pairs.samples.id(0), pairs.samples.id(1)]);
});

test("packed tars have the ids and the fingerprint of what was packed; without their index, and in all other tars, ids are keys", async () => {
  const table = join(folder, "table");
  await writeCollection(table, 12);
  const { pairs } = await openCollection({ path: table });
  const packed = join(folder, "packed");
  await packShards({ pairs, out: packed, samplesPerShard: 5, createdWith: "test" });
  const read = async (path: string): Promise<{ rewritten: string[]; trained: string[]; idFrom: string }> => {
    const captions = await openCaptions(path);
    const rewritten: string[] = [];
    for await (const batch of captions.rows()) rewritten.push(...batch.map(({ id }) => id));
    const tars = (await listShards(path)).map(({ address }) => address);
    const opened = await openTarPairs(tars, { name: path, idColumn: await defaultIdColumn(tars) });
    const trained = Array.from({ length: opened.samples.length }, (_, row) => opened.samples.id(row));
    assert.deepEqual((await captions.survey()).fingerprint, opened.fingerprint);
    if (captions.idFrom.includes('"id"')) assert.deepEqual(opened.fingerprint, pairs.fingerprint);
    return { rewritten, trained, idFrom: captions.idFrom };
  };
  const own = Array.from({ length: 12 }, (_, row) => pairs.samples.id(row));
  const { rewritten, trained, idFrom } = await read(packed);
  assert.deepEqual([rewritten.toSorted(), idFrom], [trained.toSorted(), '"id" of the .json']);
  assert.deepEqual(rewritten.toSorted(), own.toSorted());
  assert.equal((await openCaptions(join(packed, "{00000..00002}.tar"))).idFrom, idFrom);

  mkdirSync(join(folder, "other"));
  await writeTar(join(folder, "other", "0.tar"), [["a.txt", "a dog"]]);
  const mixed = `${packed}/00000.tar::${folder}/other/0.tar`;
  await assert.rejects(openCaptions(mixed), UsageError);
  assert.equal((await openCaptions(mixed, { idColumn: "id" })).idFrom, idFrom);

  renameSync(join(packed, shardIndexName), join(folder, "moved.json"));
  const keys = await read(packed);
  assert.deepEqual(keys.rewritten.toSorted(), keys.trained.toSorted());
  assert.deepEqual(
    keys.rewritten,
    Array.from({ length: 12 }, (_, i) => String(i).padStart(9, "0")),
  );
});

for (const [name, content] of Object.entries(tables)) {
  test(`ids and fingerprint of ${name}`, async () => {
    const file = join(folder, name);
    writeFileSync(file, content);
    const pairs = await openPairs({ file, checkImages: false, maximumSkipped: 0.5 });
    const captions = await openCaptions(file);
    const rewritten: string[] = [];
    for await (const batch of captions.rows()) rewritten.push(...batch.filter(({ caption }) => caption.trim() !== "").map(({ id }) => id));
    const trained = Array.from({ length: pairs.samples.length }, (_, row) => pairs.samples.id(row));
    assert.deepEqual(trained, rewritten);
    assert.deepEqual((await captions.survey()).fingerprint, pairs.fingerprint);
  });
}
