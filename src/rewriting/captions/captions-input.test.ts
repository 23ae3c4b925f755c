import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { captionsFingerprint } from "../../data/index.ts";
import { DataError } from "../../support/index.ts";
import { openCaptions } from "./captions-input.ts";
import type { CaptionRow, CaptionsOptions } from "./captions-input.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-captions-"));
after(() => rmSync(folder, { recursive: true }));
const write = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

async function read(path: string, options?: CaptionsOptions): Promise<CaptionRow[]> {
  const rows: CaptionRow[] = [];
  for await (const batch of (await openCaptions(path, options)).rows()) rows.push(...batch);
  return rows;
}

test("ids come from the id column, else the image path, else the caption", async () => {
  assert.deepEqual(await read(write("a.csv", "image,caption,id\nx.jpg,a dog,007\n")), [{ id: "007", caption: "a dog", image: "x.jpg" }]);
  assert.deepEqual(await read(write("b.csv", "Filepath,Title\nx.jpg,a dog\n")), [{ id: "x.jpg", caption: "a dog", image: "x.jpg" }]);
  const [row] = await read(write("c.jsonl", '{"caption":"a dog"}\n'));
  assert.match(row!.id, /^[0-9a-f]{16}$/);
  assert.equal((await openCaptions(join(folder, "c.jsonl"))).idFrom, "a hash of the caption");
  assert.deepEqual(await read(join(folder, "a.csv"), { idColumn: "image", captionColumn: "id" }), [
    { id: "x.jpg", caption: "007", image: "x.jpg" },
  ]);
});

test("LaCLIP's csv without a header line keeps its first row", async () => {
  assert.deepEqual(await read(write("laclip.csv", "0/1.jpg,a dog\n0/2.jpg,a cat\n")), [
    { id: "0/1.jpg", caption: "a dog", image: "0/1.jpg" },
    { id: "0/2.jpg", caption: "a cat", image: "0/2.jpg" },
  ]);
});

test("a second caption comes from the column that is named, also where captions stand in for ids; else there is none", async () => {
  const path = write("second.csv", "id,caption,blip\n1,a dog,seen\n2,a cat,\n");
  const seconds = async (file: string, options?: CaptionsOptions): Promise<(string | undefined)[]> =>
    (await read(file, options)).map(({ second }) => second);
  assert.deepEqual(await seconds(path, { secondColumn: "blip" }), ["seen", ""]);
  assert.deepEqual(await seconds(path), [undefined, undefined]);
  assert.deepEqual(await seconds(write("alone.csv", "text,blip\na dog,seen\n"), { secondColumn: "blip" }), ["seen"]);
  await assert.rejects(openCaptions(path, { secondColumn: "blop" }), /no column "blop".*blip/);
  const { second, fingerprint } = await (await openCaptions(path, { secondColumn: "blip" })).survey();
  assert.equal(second!.count, 1);
  assert.deepEqual(fingerprint, (await (await openCaptions(path)).survey()).fingerprint);
});

test("a text file's lines end where Python's do, however its bytes are read", async () => {
  const long = "x".repeat(65_535);
  const path = write("lines.txt", `one\ntwo\r\n${long}\r\nthree\rfour\u2028still four\n\nsix`);
  assert.deepEqual(
    (await read(path)).map(({ caption }) => caption),
    ["one", "two", long, "three", "four\u2028still four", "", "six"],
  );
});

test("the survey counts what can't be rewritten and gives the fingerprint that training computes", async () => {
  const path = write("survey.csv", 'id,caption\n1,a dog\n2,\n3,"  "\n4,a cat\n4,a cat\n');
  const survey = await (await openCaptions(path)).survey();
  assert.equal(survey.empty, 2);
  assert.equal(survey.repeated, 1);
  assert.deepEqual(
    survey.fingerprint,
    captionsFingerprint([
      { id: "4", caption: "a cat" },
      { id: "1", caption: "a dog" },
      { id: "4", caption: "a cat" },
    ]),
  );
});

test("ids that are missing or ambiguous, empty files and unclear columns are refused", async () => {
  const survey = async (path: string): Promise<unknown> => await (await openCaptions(path)).survey();
  await assert.rejects(
    survey(write("twice.csv", "id,caption\n1,a dog\n1,a cat\n")),
    (error) => error instanceof DataError && /row 2: the id "1" occurs twice/.test(error.message),
  );
  await assert.rejects(survey(write("noid.csv", "id,caption\n,a dog\n")), /row 1 has no id/);
  await assert.rejects(survey(write("empty.txt", "")), /no caption in this file/);
  await assert.rejects(openCaptions(write("what.csv", "one,two\n1,2\n")), /which column holds the caption\?.*one, two/);
  await assert.rejects(openCaptions(join(folder, "what.csv"), { captionColumn: "tow" }), /no column "tow"/);
  for (const header of ["id,caption,caption", "id,Caption,caption", "id,caption,id,caption_1"]) {
    const path = write("twice.csv", `${header}\n1,a dog,a cat${header.endsWith("_1") ? ",x" : ""}\n`);
    await assert.rejects(openCaptions(path), /several columns are called "(id|[Cc]aption)": columns \d \(".*"\) and \d/);
    await assert.rejects(openCaptions(path, { captionColumn: header.split(",")[1]! }), /several columns are called/);
  }
  await openCaptions(write("numbered.csv", "id,caption,caption_1\n1,a dog,a cat\n"));
  await assert.rejects(openCaptions(join(folder, "none.csv")), /no such file/);
  await assert.rejects(openCaptions(folder), /holds no captions/);
});

test("a file of nothing and one in UTF-16 are told as what they are, not as tables of odd columns", async () => {
  await assert.rejects(openCaptions(write("empty.csv", "")), /empty\.csv: this file is empty/);
  for (const mark of ["\ufeff", "\ufffe"]) {
    const path = join(folder, "unicode.csv");
    writeFileSync(path, Buffer.from(`${mark}id,caption\n1,a dog\n`, "utf16le"));
    await assert.rejects(openCaptions(path), /unicode\.csv: this file is UTF-16; expected UTF-8/);
  }
});
