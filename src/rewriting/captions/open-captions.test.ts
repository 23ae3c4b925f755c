import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError } from "../../support/index.ts";
import { openCaptions } from "./captions-input.ts";
import type { CaptionsInput } from "./captions-input.ts";
import { captionsPerMark } from "./captions-survey.ts";
import { openCaptionChunks } from "./open-captions.ts";
import type { OpenCaption, OpenCaptionsOptions } from "./open-captions.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-open-"));
after(() => rmSync(folder, { recursive: true }));

/** Enough for two marks, with rows between them that have no number: empty ones and repetitions. */
const count = 2 * captionsPerMark + 1000;
const rows = Array.from({ length: count }, (_, i) => {
  const between = i % 1000 === 500 ? ["empty,\n", i > 1000 ? `id-${i - 700},a caption ${i - 700}\n` : ""].join("") : "";
  return `id-${i},a caption ${i}\n${between}`;
});

type Read = (options: Pick<OpenCaptionsOptions, "from" | "to" | "isDone">) => Promise<OpenCaption[]>;

async function reader(path: string): Promise<Read> {
  const captions = await openCaptions(path);
  const survey = await captions.survey();
  return async (options) => await read(captions, { survey, size: 700, ...options });
}

async function read(captions: CaptionsInput, options: OpenCaptionsOptions): Promise<OpenCaption[]> {
  const all: OpenCaption[] = [];
  for await (const chunk of openCaptionChunks(captions, options)) {
    assert.ok(chunk.length <= 700);
    all.push(...chunk);
  }
  return all;
}

test("captions far behind are found without those before, whatever stands between them", async () => {
  const path = join(folder, "captions.csv");
  writeFileSync(path, `id,caption\n${rows.join("")}`);
  const look = await reader(path);
  for (const [from, to, done] of [
    [0, 5, 3],
    [captionsPerMark - 2, captionsPerMark + 2, 0],
    [0, count, 2 * captionsPerMark + 990],
    [captionsPerMark + 600, captionsPerMark + 900, captionsPerMark + 610],
    [0, count, count],
  ] as const) {
    const isDone = (number: number): boolean => number < done || number % 7 === 3;
    const expected = [];
    for (let number = from; number < to; number++) {
      if (!isDone(number)) expected.push({ number, id: `id-${number}`, caption: `a caption ${number}`, second: undefined });
    }
    assert.deepEqual(await look({ from, to, isDone }), expected);
  }
});

test("a text file is read from the same places", async () => {
  const path = join(folder, "captions.txt");
  writeFileSync(path, Array.from({ length: count }, (_, i) => `a caption ${i}\n`).join(""));
  const look = await reader(path);
  const found = await look({ from: 0, to: count, isDone: (number) => number < count - 3 });
  assert.deepEqual(
    found.map(({ number, caption }) => [number, caption]),
    [count - 3, count - 2, count - 1].map((number) => [number, `a caption ${number}`]),
  );
});

test("a file that was changed since the survey is refused", async () => {
  const path = join(folder, "changed.csv");
  const write = (ids: readonly string[]): void =>
    writeFileSync(path, `id,caption\n${ids.map((id) => `${id},a caption of ${id}\n`).join("")}`);
  const isDone = (): boolean => false;
  for (const other of [
    ["a", "c", "b"],
    ["a", "b"],
    ["x", "a", "b", "c"],
  ]) {
    write(["a", "b", "c"]);
    const captions = await openCaptions(path);
    const survey = await captions.survey();
    write(other);
    const work = async (): Promise<void> => {
      for await (const chunk of openCaptionChunks(captions, { survey, from: 0, to: 3, size: 10, isDone })) assert.ok(chunk);
    };
    await assert.rejects(work, (error) => error instanceof DataError && /was changed while it was read/.test(error.message));
  }
});
