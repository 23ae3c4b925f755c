import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { TfeventsWriter } from "./tfevents.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-tfevents-"));
after(() => rmSync(folder, { recursive: true }));

/** CRC-32C bit by bit over the whole message, without the table of the writer. */
function crc32c(content: Uint8Array): bigint {
  let crc = 0xffffffffn;
  for (const byte of content) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  return crc ^ 0xffffffffn;
}

function checked(content: Buffer, stored: number): Buffer {
  const crc = crc32c(content);
  const masked = (((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn;
  assert.equal(stored, Number(masked), "checksum");
  return content;
}

type Field = number | bigint | Buffer;

/** A general reader of protocol buffers: field number -> values. */
function parse(message: Buffer): Map<number, Field[]> {
  const fields = new Map<number, Field[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(message[at++]!);
      value |= (byte & 0x7fn) << shift;
      if (byte < 0x80n) return value;
    }
  };
  while (at < message.length) {
    const key = Number(varint());
    let value: Field;
    if ((key & 7) === 0) value = varint();
    else if ((key & 7) === 1) value = message.readDoubleLE((at += 8) - 8);
    else if ((key & 7) === 5) value = message.readFloatLE((at += 4) - 4);
    else {
      assert.equal(key & 7, 2, "wire type");
      const length = Number(varint());
      value = message.subarray(at, (at += length));
    }
    fields.set(key >> 3, [...(fields.get(key >> 3) ?? []), value]);
  }
  assert.equal(at, message.length);
  return fields;
}

function readRecords(path: string): Map<number, Field[]>[] {
  const file = readFileSync(path);
  const records: Map<number, Field[]>[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(checked(file.subarray(at, at + 8), file.readUInt32LE(at + 8)).readBigUInt64LE());
    const end = at + 12 + length;
    records.push(parse(checked(file.subarray(at + 12, end), file.readUInt32LE(end))));
    at = end + 4;
  }
  return records;
}

void test("scalars come back from the file, with valid checksums", () => {
  let seconds = 1_700_000_000.25;
  const writer = new TfeventsWriter(join(folder, "run", "events"), { wallTime: () => seconds++ });
  const points: [string, number, number][] = [
    ["train/loss", 3.25, 0],
    ["train/loss", Number.NaN, 127],
    ["val/größe ✓", -1e30, 128],
    ["train/lr", Number.POSITIVE_INFINITY, 2 ** 40 + 3],
  ];
  for (const point of points) writer.scalar(...point);
  writer.close();
  writer.close();

  assert.match(basename(writer.path), /^events\.out\.tfevents\.1700000000\./u);
  const [version, ...events] = readRecords(writer.path);
  assert.equal(String(version!.get(3)![0]), "brain.Event:2");
  assert.equal(version!.get(1)![0], 1_700_000_000.25);
  const found = events.map((event) => {
    const value = parse(parse(event.get(5)![0] as Buffer).get(1)![0] as Buffer);
    return [String(value.get(1)![0]), value.get(2)![0], Number(event.get(2)![0])];
  });
  assert.deepEqual(
    found,
    points.map(([tag, value, step]) => [tag, Math.fround(value), step]),
  );
  assert.deepEqual(
    events.map((event) => event.get(1)![0]),
    [1, 2, 3, 4].map((later) => 1_700_000_000.25 + later),
  );
});

void test("what was flushed can be read while the run goes on, and many points are written without a flush", () => {
  const writer = new TfeventsWriter(join(folder, "live"));
  assert.equal(readRecords(writer.path).length, 1);
  writer.scalar("a", 1, 1);
  assert.equal(readRecords(writer.path).length, 1);
  writer.flush();
  assert.equal(readRecords(writer.path).length, 2);
  for (let step = 0; step < 5000; step++) writer.scalar("a", step, step);
  assert.ok(readRecords(writer.path).length > 1000);
  writer.close();
  assert.equal(readRecords(writer.path).length, 5002);
  assert.throws(() => writer.scalar("a", 1, 1), /closed/u);
});

void test("two writers in one folder and second have a file each", () => {
  const place = join(folder, "two");
  const writers = [0, 1].map(() => new TfeventsWriter(place, { wallTime: () => 5 }));
  for (const writer of writers) writer.close();
  assert.equal(readdirSync(place).length, 2);
});

void test("a step that is no whole number is refused", () => {
  const writer = new TfeventsWriter(join(folder, "steps"));
  assert.throws(() => writer.scalar("a", 1, 1.5), /step 1.5/u);
  assert.throws(() => writer.scalar("a", 1, -1), /step -1/u);
  writer.close();
});
