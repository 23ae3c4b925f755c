import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { DataError, sha256 } from "../support/index.ts";
import { jsonlToParquet, writeParquet } from "./parquet.ts";
import { literal, withConnection } from "./table-database.ts";
import { type ReadTableOptions, tableFormat } from "./table-source.ts";
import { type TableValue, bytesColumns, readTable, tableColumns } from "./tables.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-tables-"));
after(() => rmSync(folder, { recursive: true }));

const noPerl = spawnSync("perl", ["-v"]).status !== 0 && "needs perl";

function write(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function rows(path: string, options?: ReadTableOptions): Promise<Record<string, TableValue>[]> {
  const all: Record<string, TableValue>[] = [];
  for await (const batch of readTable(path, options)) {
    for (let i = 0; i < batch.rows; i++)
      all.push(Object.fromEntries(Object.entries(batch.columns).map(([name, values]) => [name, values[i]!])));
  }
  return all;
}

test("a csv keeps leading zeros, quoted commas, quotes and line breaks, and empty fields", async () => {
  const path = write("quoted [1] *.csv", 'id,caption\n007,"a, ""b""\nnew"\n008,\n1e5,x\n');
  assert.deepEqual(await rows(path), [
    { id: "007", caption: 'a, "b"\nnew' },
    { id: "008", caption: "" },
    { id: "1e5", caption: "x" },
  ]);
});

test("a tsv with a lone quote inside a caption, compressed, without a header", async () => {
  const path = write("plain.tsv.gz", gzipSync('1\tthe 5" pipe\n2\tplain\n'));
  assert.equal(tableFormat(path), "tsv");
  assert.deepEqual(await tableColumns(path, { header: false }), ["column0", "column1"]);
  assert.deepEqual(await rows(path, { header: false, columns: ["column1", "column0"] }), [
    { column1: 'the 5" pipe', column0: "1" },
    { column1: "plain", column0: "2" },
  ]);
});

test("no row is passed over: neither one whose caption begins with # nor an odd first one", async () => {
  const hashes = ["#1 dad mug", "#sunset on the beach", "a plain one", "#tag", "# a heading"];
  const table = write("hashes.csv", `caption,id\n${hashes.map((caption, i) => `${caption},${i}\n`).join("")}`);
  assert.deepEqual(
    await rows(table),
    hashes.map((caption, i) => ({ caption, id: String(i) })),
  );
  const bare = write("bare.tsv", hashes.map((caption, i) => `${caption}\t${i}.jpg\n`).join(""));
  assert.deepEqual(
    (await rows(bare, { header: false })).map((row) => row["column0"]),
    hashes,
  );
  const single = write("single.csv", `caption\n${hashes.join("\n")}\n`);
  assert.deepEqual(
    (await rows(single)).map((row) => row["caption"]),
    hashes,
  );
  const odd = write("odd.csv", `id,caption\n,\n${Array.from({ length: 20 }, (_, i) => `${i},words ${i}\n`).join("")}`);
  const read = await rows(odd);
  assert.equal(read.length, 21);
  assert.deepEqual(read[0], { id: "", caption: "" });
  // A comma that is not quoted makes a row too long: it must be refused, not taken for a comment or for lines above the table.
  const refused = (error: unknown): boolean => error instanceof DataError && /can't be read/.test(error.message);
  const plain = Array.from({ length: 20 }, (_, i) => `words ${i},${i}.jpg\n`).join("");
  await assert.rejects(rows(write("comment.csv", `caption,image\n#one, two,a.jpg\n${plain}`)), refused);
  await assert.rejects(rows(write("above.csv", `one\ncaption,image\n${plain}`)), refused);
  await assert.rejects(rows(write("first.csv", `one\n${plain}`), { header: false }), refused);
});

test("a row that can't be read is named by its line and what is wrong with it, wherever it stands", async () => {
  const good = (count: number): string => Array.from({ length: count }, (_, i) => `${i},caption ${i}\n`).join("");
  const faults: readonly [name: string, content: string | Buffer, says: RegExp][] = [
    [
      "long.csv",
      "id,caption\n1,a dog\n2,a cat, black\n3,x\n",
      /line 3 can't be read: expected 2 fields, found 3\. It begins: "2,a cat, black"/,
    ],
    ["short.csv", "id,caption\n1,a dog\n2\n3,x\n", /line 3 can't be read: expected 2 fields, found 1/],
    ["late.csv", `id,caption\n${good(30_000)}x\n${good(10)}`, /line 30002 can't be read: expected 2 fields, found 1/],
    ["late.csv.gz", gzipSync(`id,caption\n${good(5)}x\n`), /line 7 can't be read/],
    ["open.csv", 'id,caption\n1,a dog\n2,"a cat\n3,x\n', /line 3 can't be read: a quoted field does not end/],
    ["inner.csv", 'id,caption\n1,"a "dog" barks"\n', /line 2 can't be read: a quoted field does not end, or goes on/],
    ["quoted.csv", '"the, id",caption\n1,2,3\n', /line 2 can't be read: expected 2 fields, found 3/],
    ["tabs.tsv", "id\tcaption\n1\ta, b\tc\n", /line 2 can't be read: expected 2 fields, found 3/],
    [
      "latin.csv",
      Buffer.from("id,caption\n1,caf\xe9 au lait\n", "latin1"),
      /line 2 can't be read: it is not valid UTF-8\. It begins: "1,caf/,
    ],
  ];
  for (const [name, content, says] of faults) {
    const path = write(name, content);
    await assert.rejects(rows(path), (error: unknown) => {
      assert.ok(error instanceof DataError);
      assert.match(error.message, says);
      assert.ok(error.message.startsWith(path) && error.message.length < path.length + 200, error.message);
      return true;
    });
  }
});

test("a tsv with quotes of its texts is refused with the command that writes them as quotes are read", { skip: noPerl }, async () => {
  const texts = ['"Dog" runs fast', 'a "cat"', "", '"whole"', "plain"];
  const path = write("the natural.tsv", `id\tcaption\n${texts.map((text, i) => `${i}\t${text}\n`).join("")}`);
  let mend = "";
  await assert.rejects(rows(path), (error) => error instanceof DataError && (mend = error.mend!) !== "");
  const command = /`(perl .*) > mended\.tsv`/.exec(mend)![1]!;
  const { stdout } = spawnSync("sh", ["-c", command], { cwd: folder, encoding: "utf8" });
  const mended = await rows(write("mended.tsv", stdout));
  assert.deepEqual(
    mended.map((row) => row["caption"]),
    texts,
  );
  const page = readFileSync(new URL("../../../docs/caption-formats.md", import.meta.url), "utf8");
  assert.ok(page.includes(command.replace(`'${path}'`, "captions.tsv")), "the page names the same command");
});

test("a byte order mark is passed over in csv; in jsonl, where it can't be, the command is named that removes it", async () => {
  assert.deepEqual(await rows(write("mark.csv", "\ufeffid,caption\n1,a dog\n")), [{ id: "1", caption: "a dog" }]);
  for (const name of ["mark.jsonl", "the mark's.jsonl"]) {
    const path = write(name, '\ufeff{"id":"1","caption":"a dog"}\n');
    let mend = "";
    await assert.rejects(rows(path), (error) => {
      assert.ok(error instanceof DataError && /begins with a byte order mark/.test(error.message));
      mend = error.mend!;
      return true;
    });
    const command = /^Write it without: `(cat .* \| tail -c \+4 > .*)`\.$/.exec(mend)![1]!;
    assert.equal(spawnSync("sh", ["-c", command], { cwd: folder }).status, 0, command);
    assert.deepEqual(await rows(join(folder, `mended-${name}`)), [{ id: "1", caption: "a dog" }]);
  }
});

test("a jsonl or parquet that breaks off late is not read as if it ended there", async () => {
  const lines = Array.from({ length: 30_000 }, (_, i) => `{"id":"${i}","caption":"caption ${i}"}\n`).join("");
  await assert.rejects(rows(write("late.jsonl", `${lines}{"id":\n${lines}`)), /late\.jsonl: line 30001 can't be read: unexpected/);
  const path = join(folder, "late.parquet");
  await writeParquet(path, { id: "text" }, [{ rows: 50_000, columns: { id: Array.from({ length: 50_000 }, (_, i) => sha256(`${i}`)) } }]);
  const bytes = readFileSync(path);
  bytes.fill(0x55, Math.floor(bytes.length * 0.7), Math.floor(bytes.length * 0.8));
  writeFileSync(path, bytes);
  await assert.rejects(rows(path), (error) => error instanceof DataError && error.message.startsWith(path));
});

test("a jsonl with numbers as ids, missing keys and a name that looks like a pattern", async () => {
  const path = write("what?.jsonl", '{"id":7,"caption":"a\\nb"}\n{"id":"8","caption":null}\n{"id":9}\n');
  assert.deepEqual(await rows(path), [
    { id: "7", caption: "a\nb" },
    { id: "8", caption: null },
    { id: "9", caption: null },
  ]);
});

test("parquet gives back what was written, with lists, nulls and numbers, in order over many batches", async () => {
  const path = join(folder, "many.parquet");
  const count = 10_000;
  const written = await writeParquet(path, { id: "text", flags: "text[]", tokens: "integer", score: "number", good: "boolean" }, [
    {
      rows: count,
      columns: {
        id: Array.from({ length: count }, (_, i) => `é${i}`),
        flags: Array.from({ length: count }, (_, i) => (i % 2 ? ["a", "b,c"] : [])),
        tokens: Array.from({ length: count }, (_, i) => i),
        score: Array.from({ length: count }, (_, i) => (i % 3 ? i / 2 : null)),
        good: Array.from({ length: count }, (_, i) => i % 2 === 0),
      },
    },
  ]);
  assert.equal(written, count);
  const back = await rows(path);
  assert.equal(back.length, count);
  back.forEach((row, i) =>
    assert.deepEqual(row, { id: `é${i}`, flags: i % 2 ? ["a", "b,c"] : [], tokens: i, score: i % 3 ? i / 2 : null, good: i % 2 === 0 }),
  );
});

test("a line of jsonl that is no JSON is refused when a parquet file is made of it, and nothing is left behind", async () => {
  const jsonl = write("torn.jsonl", '{"id":"1"}\n{"id":"2\n{"id":"3"}\n');
  await assert.rejects(jsonlToParquet(jsonl, join(folder, "torn.parquet"), { id: "text" }), DataError);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith("torn.parquet")),
    [],
  );
});

test("a wrong column, file or format is named, with the columns there are", async () => {
  const path = write("wrong.csv", "image,text\na.jpg,one\n");
  await assert.rejects(
    rows(path, { columns: ["caption"] }),
    (error) => error instanceof DataError && /no column "caption".*image, text/.test(error.message),
  );
  await assert.rejects(rows(join(folder, "none.csv")), /none\.csv: no such file/);
  await assert.rejects(rows(write("words.doc", "x")), /can't tell the format/);
  await assert.rejects(
    rows(write("fake.parquet", "PAR1 but not really")),
    (error) => error instanceof DataError && /fake\.parquet/.test(error.message),
  );
  await assert.rejects(rows(folder, { format: "csv" }), /this is a folder/);
});

test("a column that must be flat holds no lists and no records; the query that the message gives makes one of it", async () => {
  const nested = join(folder, "it's nested.parquet");
  const columns = `['a dog', 'a cat'] AS "the caption", {'en': 'x', 'de': 'y'} AS record, map {'en': 'x'} AS map, 7 AS number, 'a,b' AS plain`;
  await withConnection(nested, (connection) => connection.run(`COPY (SELECT ${columns}) TO ${literal(nested)}`));
  const lines = write("nested.jsonl", '{"the caption": ["a dog", "a cat"], "record": {"en": "x"}, "number": 7, "plain": "a,b"}\n');
  for (const path of [nested, lines]) {
    for (const [column, says, expected] of [
      ["the caption", /column "the caption" holds lists \(VARCHAR\[\]\); expected one text in each row/, ["a dog", "a cat"]],
      ["record", /column "record" holds records \(STRUCT\(en VARCHAR/, ["x"]],
    ] as const) {
      const error = await rows(path, { flat: [column] }).then(
        () => assert.fail(`${path}: ${column} was read`),
        (caught: unknown) => caught,
      );
      assert.ok(error instanceof DataError && error.message.startsWith(`${path}: `));
      assert.match(error.message, says);
      const query = /COPY .* TO 'rows.parquet'/.exec(error.mend!)![0];
      const mended = join(folder, "mended.parquet");
      rmSync(mended, { force: true });
      await withConnection(path, (connection) => connection.run(query.replace("'rows.parquet'", literal(mended))));
      assert.deepEqual(
        (await rows(mended, { flat: [column] })).map((row) => row[column]),
        expected,
      );
    }
    assert.equal((await rows(path, { columns: ["number", "plain"], flat: ["number", "plain"] })).length, 1);
    assert.equal((await rows(path, { flat: ["plain"] })).length, 1);
  }
  await assert.rejects(rows(nested, { flat: ["map"] }), /column "map" holds records \(MAP\(VARCHAR, VARCHAR\)\)/);
});

test("in jsonl, lists and records are told from texts that look like them, in a mixed column and behind any number of texts", async () => {
  const mixed = write("mixed.jsonl", '{"a": "plain"}\n{"a": 7}\n{"a": "[1, 2]"}\n{"a": "{}"}\n{"a": true}\n{"a": null}\n{"a": 1.5}\n');
  const said = ["plain", "7", "[1, 2]", "{}", "true", null, "1.5"];
  assert.deepEqual(
    (await rows(mixed, { flat: ["a"] })).map(({ a }) => a),
    said,
  );
  const texts = Array.from({ length: 50_000 }, (_, i) => `{"a": "[caption ${i}]"}\n`).join("");
  assert.equal((await rows(write("texts.jsonl", texts), { flat: ["a"] })).length, 50_000);
  for (const [name, content, says] of [
    ["list.jsonl", '{"a": "[1]"}\n{"a": ["x y"]}\n', /list\.jsonl: row 2 has a list in column "a": \["x y"\]; expected one text/],
    ["object.jsonl", '{"a": 7}\n{"a": "x"}\n{"a": {"en": "x"}}\n', /row 3 has an object in column "a": \{"en":"x"\}/],
    ["late-list.jsonl", `${texts}{"a": ["x y"]}\n`, /row 50001 has a list/],
    ["empty-list.jsonl", '{"a": "x"}\n{"a": []}\n', /row 2 has a list/],
  ] as const) {
    await assert.rejects(rows(write(name, content), { flat: ["a"] }), (error: unknown) => {
      assert.ok(error instanceof DataError && error.mend !== undefined);
      assert.match(error.message, says);
      return true;
    });
  }
});

test("a list of records with bytes is no column of images", async () => {
  const path = join(folder, "several.parquet");
  await withConnection(path, (connection) =>
    connection.run(
      `COPY (SELECT [{'bytes': 'x'::BLOB, 'path': 'p'}] AS images, {'bytes': 'x'::BLOB, 'path': 'p'} AS image) TO ${literal(path)}`,
    ),
  );
  assert.deepEqual([...(await bytesColumns(path))], [["image", { bytes: "image.bytes", path: "image.path" }]]);
});

test("a line of jsonl that can't be read is named by its number in the file", async () => {
  const good = (count: number): string => Array.from({ length: count }, (_, i) => `{"a": "caption ${i}"}\n`).join("");
  const bad = '{"a": x}\n';
  const faults: readonly [name: string, content: string | Buffer, says: RegExp][] = [
    ["first", bad + good(5), /: line 1 can't be read: unexpected character, byte 7 of it\. It begins: "\{\\"a\\": x\}"/],
    ["second", good(1) + bad + good(5), /: line 2 can't be read/],
    ["last", good(5) + bad, /: line 6 can't be read/],
    ["torn", `${good(5)}{"a": "x`, /: line 6 can't be read: unexpected end of data, byte 9 of it\. It begins: "\{\\"a\\": \\"x"/],
    ["blank", `\n${good(2)}\n  \n\t\r\n${good(1)}   ${bad}${good(2)}`, /: line 8 can't be read: unexpected character, byte 10 of it/],
    ["windows", `${good(2)}\n${bad}${good(2)}`.replaceAll("\n", "\r\n"), /: line 4 can't be read/],
    ["twice", `${good(2)}\n{"a": 1, "a": 2}\n`, /: line 4 can't be read: .*has duplicate key "a"/],
    ["two", `${good(2)}{"a": 1} {"a": 2}\n${good(2)}`, /: line 3 can't be read: unexpected content after document, byte/],
    ["latin", Buffer.from(`${good(2)}{"a": "caf\xe9"}\n`, "latin1"), /: line 3 can't be read: invalid UTF-8/],
    ["long", `${good(2)}{"a": "${"x".repeat(1000)}\n`, /: line 3 can't be read: .*It begins: "\{\\"a\\": \\"x{93}\.\.\."\./],
    ["large", `${good(70_000)}\n\n${good(70_000)}${bad}${good(70_000)}${bad}`, /: line 140003 can't be read/],
  ];
  for (const [name, content, says] of faults) {
    for (const path of [write(`line-${name}.jsonl`, content), write(`line-${name}.jsonl.gz`, gzipSync(content))]) {
      await assert.rejects(rows(path), (error: unknown) => {
        assert.ok(error instanceof DataError && error.message.startsWith(`${path}: line `), String(error));
        assert.match(error.message, says);
        return true;
      });
    }
  }
});
