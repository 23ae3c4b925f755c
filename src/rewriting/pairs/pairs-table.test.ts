import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError } from "../../support/index.ts";
import { exportPairs, importPairs } from "./pairs-table.ts";
import { hashOfPairs, knownSources } from "./pairs.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-pairs-table-"));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const options = { name: "mine", author: "Ada and Bo", createdWith: "test" };
const faultOf = async (name: string, content: string | Uint8Array): Promise<string> => {
  try {
    await importPairs(file(name, content), options);
  } catch (error) {
    assert.ok(error instanceof DataError, String(error));
    return error.message;
  }
  return "";
};

test("what export writes import reads: pairs, groups and triples, in csv and jsonl", async () => {
  for (const source of knownSources) {
    for (const to of ["csv", "jsonl"] as const) {
      const path = file(`${source.name}.${to}`, exportPairs(source, to));
      const read = await importPairs(path, options);
      assert.equal(hashOfPairs({ ...read, provenance: "" }), hashOfPairs(source), path);
      assert.ok(read.record?.by === "people");
      assert.equal(read.record.author, "Ada and Bo");
      assert.equal(read.record.captions!.name, `${source.name}.${to}`);
    }
  }
});

test("commas, quotes, edges and other columns survive a spreadsheet", async () => {
  const pairs = [
    ['a "red" door', "a door, red"],
    ["007 in a suit", '"quoted"'],
    ["caf\u00e9 \u{1f600}", "a caf\u00e9"],
  ] as const;
  const csv = exportPairs({ name: "x", provenance: "", pairs }, "csv");
  assert.deepEqual((await importPairs(file("quotes.csv", csv), options)).pairs, pairs);
  const excel = "\ufeffNr,Output,Input\r\n1,b one,a one\r\n2,b two, a two \r\n,,\r\n3,b three,a three\r\n";
  assert.deepEqual((await importPairs(file("excel.csv", excel), options)).pairs, [
    ["a one", "b one"],
    ["a two", "b two"],
    ["a three", "b three"],
  ]);
});

test("a table that would give no good source is refused with row and column", async () => {
  const good = "a,b\nc,d\ne,f\n";
  assert.match(
    await faultOf("columns.csv", `from,to\n${good}`),
    /expected the columns input and output, or group and caption; there are: from, to/,
  );
  assert.match(await faultOf("few.csv", "input,output\na,b\nc,d\n"), /few\.csv: 2 pairs are too few; a prompt shows 3/);
  assert.match(await faultOf("empty.csv", `input,output\n${good}g,\n`), /row 4, column "output": this text is empty/);
  assert.match(await faultOf("arrow.csv", `input,output\n${good}\n\ng => h,i\n`), /column "input": this text holds "=>"/);
  assert.match(await faultOf("break.csv", `input,output\n${good}"g\nh",i\n`), /row 4, column "input": this text holds a line break/);
  assert.match(await faultOf("same.csv", `input,output\n${good}A dog!,a dog\n`), /row 4: input and output say the same/);
  assert.match(await faultOf("again.csv", `input,output\n${good}c,d\n`), /row 4 is row 2 again/);
  assert.match(await faultOf("second.csv", "input,second,output\na,b,c\nd,,f\ng,h,i\n"), /row 2, column "second": this text is empty/);
  assert.match(await faultOf("group.csv", "group,caption\n1,a\n1,b\n2,c\n2,d\n3,e\n"), /group 3 has one caption/);
  assert.match(await faultOf("twice.csv", "group,caption\n1,a\n1,A.\n2,c\n2,d\n3,e\n3,f\n"), /row 2: group 1 has this caption already/);
  assert.match(await faultOf("lines.jsonl", '{"input": "a", "output": "b"}\n{"input": "c"'), /lines\.jsonl/);
  assert.match(await faultOf("latin.csv", Buffer.from("input,output\na,caf\xe9\nc,d\ne,f\n", "latin1")), /latin\.csv/);
  await assert.rejects(importPairs(join(folder, "none.csv"), options), /no such file/);
});
