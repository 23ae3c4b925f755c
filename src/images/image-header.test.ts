/** Formats and sizes of the committed images of all kinds, and of files that are none. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { DataError } from "../support/index.ts";
import { decodeImage } from "./decode.ts";
import { encodeJpeg, encodePng } from "./encode.ts";
import { imageFormat, readImageHeader } from "./image-header.ts";

const folder = fileURLToPath(new URL("../../../test/parity/images/files", import.meta.url));
const files = readdirSync(folder).map((name) => ({ name, bytes: readFileSync(join(folder, name)) }));
const whole = files.filter(({ name }) => !name.startsWith("broken"));

test("the header says what decoding gives", async () => {
  assert.ok(whole.length > 12);
  for (const { name, bytes } of whole) {
    const { format, width, height } = await readImageHeader(bytes);
    const pixels = await decodeImage(bytes);
    assert.deepEqual([width, height], [pixels.width, pixels.height], name);
    assert.equal(format, { jpg: "jpeg", png: "png", webp: "webp", gif: "gif", tiff: "tiff" }[name.split(".").at(-1)!], name);
  }
  const avif = await sharp({ create: { width: 20, height: 10, channels: 3, background: "red" } })
    .avif()
    .toBuffer();
  assert.deepEqual(await readImageHeader(avif), { format: "avif", width: 20, height: 10 });
});

test("what is no image is refused, also drawings that could be rendered", async () => {
  for (const text of ["", "<html>404</html>", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "\xff\xd8\xff", "GIF8"]) {
    await assert.rejects(
      readImageHeader(Buffer.from(text, "latin1"), "x.jpg"),
      (error: Error) => error instanceof DataError && error.message.startsWith("x.jpg: "),
    );
  }
  assert.equal(imageFormat(Buffer.from("RIFF....WAVE")), undefined);
});

test("a PNG keeps every pixel that decoding gives, of any kind of image", async () => {
  for (const { name, bytes } of whole) {
    const pixels = await decodeImage(bytes);
    const again = await decodeImage(await encodePng(pixels));
    assert.deepEqual(Buffer.from(again.data), Buffer.from(pixels.data), name);
  }
});

test("a JPEG keeps the aspect and is never larger than the image", async () => {
  const pixels = { width: 90, height: 31, data: new Uint8Array(90 * 31 * 3).fill(120) };
  const sizeOf = async (shorterSide?: number): Promise<[number, number]> => {
    const { width, height } = await readImageHeader(await encodeJpeg(pixels, { shorterSide }));
    return [width, height];
  };
  assert.deepEqual(await sizeOf(10), [29, 10]);
  assert.deepEqual(await sizeOf(1), [3, 1]);
  assert.deepEqual(await sizeOf(31), [90, 31]);
  assert.deepEqual(await sizeOf(500), [90, 31]);
  assert.deepEqual(await sizeOf(), [90, 31]);
});
