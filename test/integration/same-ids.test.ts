/** Rewriting and training read the same table: they must agree on every id and on what the table is. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openPairs } from "../../src/data/index.ts";
import { openCaptions } from "../../src/rewriting/index.ts";

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
