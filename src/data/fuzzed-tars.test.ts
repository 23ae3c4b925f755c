/**
 * Damaged tars by the hundred: whatever a tar holds, it is read or refused with an error of the family, and all who read it count alike.
 *
 * `LACLIP_FUZZ=10000` in the environment tries so many.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { TarWriter } from "../formats/index.ts";
import { LaclipError, Random } from "../support/index.ts";
import { noteSamples } from "./note-samples.ts";
import { countSamples } from "./shards/count-samples.ts";
import { readSamples } from "./shards/shard-reader.ts";
import { openTarPairs } from "./tar-pairs.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-fuzzed-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "fuzzed.tar");
const block = 512;

async function good(): Promise<Buffer> {
  const tar = await TarWriter.create(path);
  for (let i = 0; i < 9; i++) {
    // One name is longer than a header has room for.
    const key = i === 4 ? `${"folder/".repeat(30)}4` : String(i);
    await tar.add({ name: `${key}.jpg` }, Buffer.from("an image".repeat(i * 20)));
    await tar.add({ name: `${key}.txt` }, Buffer.from(`caption of ${i}`));
    const json = { id: `id ${i}`, row: i, caption_a: "a rewrite", weights: { caption_a: 0.5 } };
    await tar.add({ name: `${key}.json` }, Buffer.from(JSON.stringify(json)));
  }
  await tar.finish();
  return readFileSync(path);
}

/** The sum of a header, without which any change in it would be noticed. */
function sign(bytes: Buffer, header: number): void {
  let sum = 0;
  for (let i = 0; i < block; i++) sum += i >= 148 && i < 156 ? 32 : bytes[header + i]!;
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, header + 148, 8, "latin1");
}

function mutated(bytes: Buffer, random: Random): Buffer {
  const cut = random.integer(5) === 0;
  const changed = Buffer.from(cut ? bytes.subarray(0, random.integer(bytes.length)) : bytes);
  const headers = Array.from({ length: Math.floor(changed.length / block) }, (_, i) => i * block).filter(
    (at) => changed.toString("latin1", at + 257, at + 262) === "ustar",
  );
  for (let changes = cut ? 0 : 1 + random.integer(4); changes > 0; changes--) {
    if (random.integer(2) === 0) changed[random.integer(changed.length)] = random.integer(256);
    else {
      const header = headers[random.integer(headers.length)]!;
      const what = random.integer(4);
      if (what === 0) changed[header + random.integer(100)] = random.integer(256);
      else if (what === 1) changed.write(String(random.integer(8)), header + 124 + random.integer(11));
      else if (what === 2) changed.write("0125xgLK7\0S"[random.integer(11)]!, header + 156);
      else changed[header + random.integer(block)] = random.integer(256);
      sign(changed, header);
    }
  }
  return changed;
}

/** What comes of it, or the error where that is one of the family; any other is thrown. */
async function outcome(work: () => Promise<number>): Promise<number | undefined> {
  try {
    return await work();
  } catch (error) {
    if (LaclipError.is(error)) return undefined;
    throw error;
  }
}

async function length(samples: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of samples) count++;
  return count;
}

async function* withImages(tar: string): AsyncGenerator<string> {
  for await (const { key, image } of noteSamples(tar)) if (image) yield key;
}

test("mutated tars are read or refused, and counted alike by all who read them", async () => {
  const whole = await good();
  const cache = join(path, "none");
  let [read, refused] = [0, 0];
  for (let i = 0; i < Number(process.env["LACLIP_FUZZ"] ?? 150); i++) {
    writeFileSync(path, mutated(whole, Random.of("fuzz", i)));
    const counted = await outcome(async () => (await countSamples([{ address: path }], { cache }))[0]!.samples);
    const seen = await outcome(async () => await length(readSamples({ address: path, samples: 0 }, 0)));
    const noted = await outcome(async () => await length(withImages(path)));
    const usable = await outcome(async () => {
      const idColumn = i % 2 === 0 ? "id" : undefined;
      return (await openTarPairs([path], { name: "fuzzed", maximumSkipped: 1, idColumn })).samples.length;
    });
    assert.deepEqual([seen, noted], [counted, counted], `mutation ${i}`);
    if (counted === undefined) assert.equal(usable, undefined, `mutation ${i}`);
    else assert.ok(usable === undefined || usable <= counted, `mutation ${i}`);
    if (counted === undefined) refused++;
    else read++;
  }
  assert.ok(read > 10 && refused > 10, `${read} were read, ${refused} refused`);
});
