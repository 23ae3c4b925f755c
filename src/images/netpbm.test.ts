import assert from "node:assert/strict";
import { test } from "node:test";
import { DataError } from "../support/index.ts";
import { decodeImage } from "./decode.ts";
import { imageHeader } from "./header.ts";

const file = (head: string, ...values: number[]): Buffer => Buffer.concat([Buffer.from(head), Buffer.from(values)]);
const values = async (bytes: Uint8Array): Promise<number[]> => [...(await decodeImage(bytes, { name: "x.ppm" })).data];

test("colour and gray, with comments and any white space between the numbers", async () => {
  const colour = file("P6\n# made by hand\n2 1\n255\n", 1, 2, 3, 250, 0, 9);
  assert.deepEqual(await decodeImage(colour), { width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 250, 0, 9) });
  assert.deepEqual(await imageHeader(colour), { format: "ppm", width: 2, height: 1, channels: 3 });
  const gray = file("P5 1\t2# a comment at the end of a line\n 255\n", 7, 200);
  assert.deepEqual(await decodeImage(gray), { width: 1, height: 2, data: Uint8Array.of(7, 7, 7, 200, 200, 200) });
  // A first pixel that looks like white space belongs to the pixels.
  assert.deepEqual(await values(file("P6 1 1 255 ", 32, 10, 35)), [32, 10, 35]);
});

test("other levels than 255 are brought to it", async () => {
  assert.deepEqual(await values(file("P6 1 1 100\n", 0, 50, 100)), [0, 128, 255]);
  assert.deepEqual(await values(file("P5 1 1 65535\n", 0xab, 0xff)), [0xab, 0xab, 0xab]);
  assert.deepEqual(await values(file("P5 1 1 1000\n", 500 >> 8, 500 & 255)), [128, 128, 128]);
});

test("a file that is cut short, too large or without a header is refused", async () => {
  await assert.rejects(values(file("P6 2 2 255\n", 1, 2, 3)), /x\.ppm: cut short or damaged/);
  await assert.rejects(values(file("P6 99999 99999 255\n")), /x\.ppm: more than 50000000 pixels/);
  for (const head of ["P6 0 1 255\n", "P6 1 1 0\n", "P6 1 1 99999\n", "P6 1 -1 255\n", "P6 1 1 255", "P7 1 1 255\n"]) {
    await assert.rejects(values(file(head, 1)), DataError);
  }
});
