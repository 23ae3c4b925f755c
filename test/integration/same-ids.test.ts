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

for (const [name, content] of Object.entries(tables)) {
  test(`ids and fingerprint of ${name}`, async () => {
    const file = join(folder, name);
    writeFileSync(file, content);
    const pairs = await openPairs({ file, checkImages: false, maximumSkipped: 0.5 });
    const captions = await openCaptions(file);
    const rewritten: string[] = [];
    for await (const batch of captions.rows()) rewritten.push(...batch.filter(({ caption }) => caption.trim() !== "").map(({ id }) => id));
    const trained = Array.from({ length: pairs.samples.length }, (_, row) => pairs.samples.ids.at(row));
    assert.deepEqual(trained, rewritten);
    assert.deepEqual((await captions.survey()).fingerprint, pairs.fingerprint);
  });
}
