/**
 * More than 200 images of every kind, and SLIP's changes of colour, held against Pillow and torchvision: through the addon, and without it.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { DataError, sha256 } from "../support/index.ts";
import { changeColours, type ColourChange, decodeImage, evaluationImage, imageEngine, imageHeader, resizePillow } from "./index.ts";
import { renderPixels, renderPlain } from "./render.ts";
import { square } from "./views.ts";

interface ImageCheck {
  file: string;
  width: number;
  height: number;
  sha256: string;
  bilinear: string;
  bicubic: string;
  box: [number, number, number, number];
  crop: string;
}

interface ChangeCheck {
  file: string | null;
  box?: [number, number, number, number];
  changes: ColourChange[];
  mirrored: boolean;
  sha256: string;
}

const folder = fileURLToPath(new URL("../../../test/parity/images/", import.meta.url));
const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"));
const images = read("variety.json") as ImageCheck[];
const path = (name: string): string => join(folder, "variety", name);

for (const kind of ["jpg", "png", "gif", "webp", "tiff"]) {
  test(`decoded, evaluated and cropped, every ${kind} is Pillow's`, async () => {
    const ofKind = images.filter(({ file }) => file.endsWith(kind));
    assert.ok(ofKind.length >= 12);
    for (const check of ofKind) {
      const pixels = await decodeImage(path(check.file));
      assert.deepEqual([pixels.width, pixels.height, sha256(pixels.data)], [check.width, check.height, check.sha256], check.file);
      for (const interpolation of ["bilinear", "bicubic"] as const) {
        const view = await evaluationImage(path(check.file), { size: 24, interpolation });
        assert.equal(sha256(view), check[interpolation], `${check.file} ${interpolation}`);
      }
      const [x, y, width, height] = check.box;
      assert.equal(sha256(resizePillow(pixels, { x, y, width, height }, 24, 24, "bilinear")), check.crop, check.file);
    }
  });
}

test("headers say the size that decoding gives", async () => {
  for (const { file, width, height } of images) {
    const header = await imageHeader(await readFile(path(file)));
    assert.deepEqual([header.width, header.height], [width, height], file);
    assert.equal(header.format, file.endsWith("jpg") ? "jpeg" : file.slice(file.lastIndexOf(".") + 1));
    assert.ok(header.channels >= 1 && header.channels <= 4, file);
  }
  const channels = async (name: string): Promise<number> => (await imageHeader(await readFile(path(name)))).channels;
  assert.equal(await channels("la-13x5.png"), 2);
  assert.equal(await channels("p16-13x5.png"), 3);
  assert.equal(await channels("pa-13x5.png"), 4);
  assert.equal(await channels("cmyk-9x17.jpg"), 4);
  assert.equal(await channels("gray-9x17.jpg"), 1);
  await assert.rejects(imageHeader(Buffer.from("no image at all"), "row 3"), (error) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /^row 3: not an image/u);
    return true;
  });
});

test("changes of colour are torchvision's on Pillow's images, with the addon and without", async () => {
  const checks = read("changes.json") as ChangeCheck[];
  const photo = await decodeImage(join(folder, "files", "photo.jpg"));
  // 52 levels of red, green and blue: each colour of the cube once.
  const cube = { width: 416, height: 338, data: new Uint8Array(52 ** 3 * 3) };
  for (let i = 0; i < 52 ** 3; i++) cube.data.set([Math.floor(i / 2704) * 5, (Math.floor(i / 52) % 52) * 5, (i % 52) * 5], i * 3);
  for (const { file, box, changes, mirrored, sha256: expected } of checks) {
    const label = JSON.stringify({ box, changes, mirrored });
    if (file === null) {
      const whole = {
        box: { x: 0, y: 0, width: 416, height: 338 },
        width: 416,
        height: 338,
        window: { x: 0, y: 0, width: 416, height: 338 },
      };
      assert.equal(sha256(renderPixels(cube, [{ ...whole, interpolation: "bilinear", changes }])), expected, label);
      const changed = cube.data.slice();
      changeColours(changed, 416, 338, changes);
      assert.equal(sha256(changed), expected, `plain ${label}`);
      continue;
    }
    const [x, y, width, height] = box!;
    const view = { ...square({ x, y, width, height }, 48, "bilinear", mirrored), changes };
    assert.equal(sha256(renderPixels(photo, [view])), expected, label);
    const plain = new Uint8Array(48 * 48 * 3);
    renderPlain(photo, [view], plain);
    assert.equal(sha256(plain), expected, `plain ${label}`);
  }
});

test(
  "LACLIP_IMAGES=plain gives the same pixels without the addon, and another value is refused",
  { skip: imageEngine().addon === null },
  () => {
    if (process.env["LACLIP_IMAGES"] === "plain") return;
    const own = fileURLToPath(import.meta.url);
    const run = (way: string) =>
      spawnSync(process.execPath, ["--test", "--test-reporter=spec", own], {
        encoding: "utf8",
        // A test runner that finds itself inside of another one prints for that one.
        env: { ...process.env, LACLIP_IMAGES: way, NODE_TEST_CONTEXT: undefined },
      });
    const plain = run("plain");
    assert.equal(plain.status, 0, plain.stdout);
    assert.match(plain.stdout, /every jpg is Pillow's/u);
    const wrong = run("fast");
    assert.match(`${wrong.stdout}${wrong.stderr}`, /LACLIP_IMAGES=fast is not known/u);
  },
);
