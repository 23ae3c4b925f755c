import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCaptions } from "./captions-input.ts";
import type { CaptionsInput } from "./captions-input.ts";
import { sampleCaptions } from "./sample-captions.ts";
import type { CaptionSample } from "./sample-captions.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-sample-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const sample = async (captions: readonly string[], count: number, seed = 0): Promise<CaptionSample> => {
  const path = join(folder, `${files++}.txt`);
  writeFileSync(path, `${captions.join("\n")}\n`);
  return await sampleCaptions(await openCaptions(path), { count, seed });
};
const captions = Array.from({ length: 2000 }, (_, i) => `a scene with thing number ${i.toString(26).replaceAll(/\d/g, "x")}q${i}`);

test("a sample follows from seed and captions, not from their order or how often they are there", async () => {
  const first = await sample(captions, 20);
  assert.equal(new Set(first.captions).size, 20);
  assert.deepEqual((await sample(captions.toReversed(), 20)).captions, first.captions);
  assert.deepEqual(
    (await sample([...captions, ...captions.slice(0, 50), ...captions.map((one) => `${one.toUpperCase()}.`)], 20)).captions.map((one) =>
      one.toLowerCase().replace(/\.$/, ""),
    ),
    first.captions,
  );
  assert.notDeepEqual((await sample(captions, 20, 1)).captions, first.captions);
  assert.deepEqual((await sample(captions, 5)).captions, first.captions.slice(0, 5));
  const { count, hash, name } = first.dataset;
  assert.equal(count, 2000);
  assert.equal(name, "0.txt");
  assert.equal(hash, (await (await openCaptions(join(folder, "0.txt"))).survey()).fingerprint.hash);
});

test("every caption has the same chance", async () => {
  const counts = new Map<string, number>();
  const few = captions.slice(0, 100);
  for (let seed = 0; seed < 200; seed++)
    for (const one of (await sample(few, 10, seed)).captions) counts.set(one, (counts.get(one) ?? 0) + 1);
  // 200 draws of 10 out of 100: 20 each, with a deviation of 4.2.
  assert.equal(counts.size, 100);
  for (const [one, count] of counts) assert.ok(count > 3 && count < 42, `${one} was drawn ${count} times`);
});

test("what makes no example is not drawn", async () => {
  const useless = [
    "a dog runs",
    "IMG_2291.JPG 3000x2000 EUR 20",
    "$ 12 / 34 - 56 % (78) ok",
    "see https://example.org for a dog",
    "word ".repeat(31),
    "x".repeat(500),
    "\ufffd\ufffd broken bytes in here",
    "- - - - -",
  ];
  const { captions: drawn, dataset } = await sample([...useless, "", "  ", "a dog runs along a beach", "two words => and an arrow"], 10);
  assert.deepEqual([...drawn].sort(), ["a dog runs along a beach", "two words -> and an arrow"]);
  assert.equal(dataset.count, useless.length + 2);
});

test("a draw that is stopped reads no further", async () => {
  let batches = 0;
  const stop = new AbortController();
  const input = {
    path: "captions.csv",
    async *rows() {
      for (;;) {
        if (++batches === 3) stop.abort();
        yield [{ id: `${batches}`, caption: `a dog on beach number ${batches}` }];
      }
    },
  } as unknown as CaptionsInput;
  await assert.rejects(sampleCaptions(input, { count: 4, seed: 0, signal: stop.signal }), /abort/i);
  assert.equal(batches, 3);
});
