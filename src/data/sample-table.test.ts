import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { fileURLToPath } from "node:url";
import { Random, UsageError } from "../support/index.ts";
import { ByteLogBuilder } from "./byte-log.ts";
import { RewritesBuilder } from "./rewrites-column.ts";
import { SampleTable, SampleTableBuilder } from "./sample-table.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-sample-table-"));
after(() => rmSync(folder, { recursive: true }));

test("records come back as they went in, from memory and from a file that nobody sees, in every thread of the process", async () => {
  const random = Random.of("records");
  const records = Array.from({ length: 3000 }, (_, i) => {
    const length = i === 1234 ? 100_000 : i % 100 === 0 ? 4080 + random.integer(20) : random.integer(200);
    return Buffer.from(Array.from({ length }, () => random.integer(256)));
  });
  for (const inMemory of [64e6, 10_000, 0]) {
    const builder = new ByteLogBuilder({ inMemory, folder });
    const offsets = records.map((record) => builder.append(record));
    const log = builder.finish();
    assert.equal(log.memory.kind, inMemory > 1e6 ? "memory" : "file");
    records.forEach((record, i) => assert.deepEqual(Buffer.from(log.at(offsets[i]!)), record));
    assert.deepEqual(readdirSync(folder), []);
    const last = offsets.length - 1;
    const module = fileURLToPath(new URL("./byte-log.js", import.meta.url));
    const worker = new Worker(
      `import(${JSON.stringify(module)}).then(({ ByteLog }) => {
        const { parentPort, workerData } = require("node:worker_threads");
        const log = new ByteLog(workerData.memory);
        parentPort.postMessage(workerData.offsets.map((offset) => log.at(offset).toString("hex")));
      });`,
      { eval: true, workerData: { memory: log.memory, offsets: [offsets[1234]!, offsets[last]!] } },
    );
    const [seen] = (await new Promise((resolve, reject) => worker.once("message", (...all) => resolve(all)).once("error", reject))) as [
      string[],
    ];
    assert.deepEqual(seen, [records[1234]!.toString("hex"), records[last]!.toString("hex")]);
    await worker.terminate();
    log.close();
  }
  assert.throws(() => {
    const builder = new ByteLogBuilder({ inMemory: 0, folder: join(folder, "nowhere") });
    builder.append(Buffer.alloc(100_000));
  }, UsageError);
});

test("samples and their rewrites are the same in memory and on disk, in whatever order the rewrites came", () => {
  const texts = (row: number): [source: number, text: string, weight?: number][] => [
    [2, `human on ${row} ${"éü漢🐕".repeat(row % 7)}`],
    [0, `chatgpt on ${row}`, 0.5],
    [0, `another chatgpt on ${row}`],
  ];
  const build = (inMemory: number, shuffled: boolean): SampleTable => {
    const builder = new SampleTableBuilder("/pictures", { inMemory, folder });
    for (let row = 0; row < 500; row++) builder.add(`id ${row}`, row % 2 ? `/else/${row}.jpg` : `${row}.jpg`, `caption ${"x".repeat(row)}`);
    const rewrites = new RewritesBuilder(["chatgpt", "bard", "human"], { inMemory, folder });
    let all = Array.from({ length: 500 }, (_, row) => (row % 10 === 3 ? [] : texts(row).map((text) => [row, ...text] as const))).flat();
    if (shuffled) all = Random.of("order").sample(all, all.length);
    for (const [row, source, text, weight] of all) rewrites.add(row, source, text, weight);
    return builder.finish().withRewrites(rewrites);
  };
  const table = build(64e6, false);
  assert.equal(table.length, 500);
  assert.deepEqual(table.at(4), {
    id: "id 4",
    image: "/pictures/4.jpg",
    captions: [
      { source: "original", text: "caption xxxx" },
      { source: "chatgpt", text: "another chatgpt on 4" },
      { source: "chatgpt", text: "chatgpt on 4", weight: 0.5 },
      { source: "human", text: `human on 4 ${"éü漢🐕".repeat(4)}` },
    ],
  });
  assert.equal(table.at(5).image, "/else/5.jpg");
  assert.deepEqual(table.at(3).captions, [{ source: "original", text: "caption xxx" }]);
  assert.deepEqual([table.hasRewrites(3), table.hasRewrites(4)], [false, true]);
  for (const other of [build(0, true), build(20_000, false), new SampleTable(build(0, false).memory)]) {
    for (let row = 0; row < 500; row++) {
      assert.deepEqual(other.at(row), table.at(row));
      assert.equal(other.id(row), `id ${row}`);
    }
  }
});
