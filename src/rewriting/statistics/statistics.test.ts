import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import sharp from "sharp";
import { RewritesWriter, captionsFingerprint, openRewritesFolder } from "../../data/index.ts";
import type { Rewrite, RewritesFolder } from "../../data/index.ts";
import { DataError } from "../../support/index.ts";
import { CaptionSample } from "../checks/caption-sample.ts";
import { openCaptions } from "../captions/captions-input.ts";
import { complaintsOn } from "./complaints.ts";
import { renderStatistics } from "./statistics-page.ts";
import { describeStatistics } from "./statistics-text.ts";
import { rewritesStatistics } from "./statistics.ts";

const temporary = mkdtempSync(join(tmpdir(), "laclip-statistics-"));
after(() => rmSync(temporary, { recursive: true }));

const hostile = `<script>document.title="owned"</script> a dog & a "cat"`;
const captions = [
  { id: "a", caption: "a brown dog on green grass" },
  { id: "b", caption: "two dogs in Prague" },
  { id: "c", caption: hostile },
  { id: "d", caption: "a cat" },
];
const file = join(temporary, "captions.jsonl");
writeFileSync(file, captions.map((row) => `${JSON.stringify(row)}\n`).join(""));

type Row = Pick<Rewrite, "id" | "source" | "text"> & Partial<Rewrite>;

let folders = 0;

async function folderOf(rows: readonly Row[], of: readonly { id: string; caption: string }[] = captions): Promise<RewritesFolder> {
  const path = join(temporary, `folder-${folders++}`);
  const made = { engine: "test", model: "m", modelHash: "", promptHash: "", provenance: "a test", sampling: { "top-p": 0.95 }, seed: 1 };
  const writer = await RewritesWriter.open(path, {
    dataset: "captions",
    fingerprint: captionsFingerprint(of),
    sources: Object.fromEntries([...new Set(rows.map(({ source }) => source))].map((source) => [source, made])),
    createdWith: "test",
  });
  await writer.append(rows.map((row) => ({ flags: [], finish: "stop", tokens: 5, seed: 1, examples: [], ...row })));
  await writer.finish();
  return await openRewritesFolder(path);
}

const rows: readonly Row[] = [
  { id: "a", source: "one", text: "a dog with brown fur in the grass" },
  { id: "a", source: "two", text: "A dog, with brown fur, in the grass.", weight: 0.5 },
  { id: "b", source: "one", text: "two dogs somewhere", flags: ["names-lost"] },
  { id: "b", source: "two", text: "dogs", flags: ["rejected:too-short", "length-ratio"] },
  { id: "c", source: "one", text: hostile, flags: ["same-as-caption"] },
  { id: "d", source: "two", text: `a cat ${"and another one ".repeat(40)}` },
];

test("counts, lengths and likeness are what they are", async () => {
  const statistics = await rewritesStatistics(await folderOf(rows), { captions: await openCaptions(file) });
  const [one, two] = statistics.sources;
  assert.deepEqual([statistics.rewrites, statistics.captions, statistics.sample], [6, 4, { captions: 4, whole: true }]);
  assert.deepEqual([one!.rewrites, one!.usable, one!.missing, one!.flags], [3, 3, 1, { "names-lost": 1, "same-as-caption": 1 }]);
  assert.deepEqual([two!.usable, two!.missing, two!.meanWeight, two!.meanTokens], [2, 2, 0.75, 5]);
  // The second of two sources that say the same is the repetition, whatever the order on disk.
  assert.deepEqual([one!.duplicates, two!.duplicates], [0, 1]);
  assert.equal(two!.length.truncated, 0.5);
  assert.equal(
    two!.length.histogram.reduce((a, b) => a + b, 0),
    2,
  );
  assert.equal(one!.measures!["numbers-lost"]!.mean, 1);
  assert.deepEqual(one!.measures!["names-lost"], { mean: 0, texts: 1 });
  assert.ok(Math.abs(one!.measures!["few-shared-words"]!.mean - (3 / 4 + 1 / 2 + 1) / 3) < 1e-9);
  assert.equal(one!.siblingBleu, 1, "the only rewrite with a sibling says what that one says");
  assert.equal(statistics.captionLength!.texts, 4);
  // JSON holds all of it.
  assert.deepEqual(JSON.parse(JSON.stringify(statistics)).sources[0].flags, one!.flags);
});

test("each flag has examples, beside their captions where these are given", async () => {
  const folder = await folderOf(rows);
  const { examples } = await rewritesStatistics(folder, { captions: await openCaptions(file) });
  const of = (source: string, flag?: string): (string | undefined)[] =>
    examples.filter((example) => example.source === source && example.flag === flag).map(({ caption }) => caption);
  assert.deepEqual(of("one", "names-lost"), ["two dogs in Prague"]);
  assert.deepEqual(of("two", "rejected:too-short"), ["two dogs in Prague"]);
  assert.equal(of("one").length, 1);
  const without = await rewritesStatistics(folder, { examples: 0 });
  assert.deepEqual(without.examples, []);
  assert.match(describeStatistics(await rewritesStatistics(folder)), /names-lost: 1 \(33\.3 %\)\n {4}b: two dogs somewhere/);
});

test("fits to the image are counted for all rewrites that have one, and the least are shown", async () => {
  const fits = [0.02, -0.04, -0.3, -5e-3];
  const measured = rows.slice(0, 4).map((row, i) => ({ ...row, fit: fits[i]! }));
  const statistics = await rewritesStatistics(await folderOf([...measured, ...rows.slice(4)]), { examples: 1 });
  const [one, two] = statistics.sources;
  assert.ok(Math.abs(one!.fit!.mean + 0.14) < 1e-9);
  assert.deepEqual([one!.fit!.rewrites, one!.fit!.worse, two!.fit!.worse], [2, 0.5, 1]);
  const { histogram, start, binWidth } = one!.fit!;
  assert.deepEqual(
    histogram.flatMap((count, bin) => (count > 0 ? [Number((start + bin * binWidth).toFixed(2))] : [])),
    [-0.3, 0.02],
  );
  assert.deepEqual(
    statistics.examples.filter(({ flag }) => flag === "fits-least").map(({ id }) => id),
    ["b", "a"],
  );
  assert.match(renderStatistics(statistics), /How well they fit the image/);
});

test("captions of another data set are refused", async () => {
  const folder = await folderOf(rows);
  // Others with ids of these, and a part of these, would be measured over the few texts that fit.
  for (const other of [[{ id: "x", caption: "a house" }], [{ id: "a", caption: "a house" }], captions.slice(1)]) {
    const path = join(temporary, "other.jsonl");
    writeFileSync(path, other.map((row) => `${JSON.stringify(row)}\n`).join(""));
    await assert.rejects(
      async () => await rewritesStatistics(folder, { captions: await openCaptions(path) }),
      (error) => error instanceof DataError && /belong to another data set/.test(error.message),
    );
  }
});

test("the sample is bounded, whole captions, and the same in any order", () => {
  const ids = Array.from({ length: 5000 }, (_, i) => `id-${i}`);
  const take = (order: readonly string[]): [string, readonly number[]][] => {
    const sample = new CaptionSample<number>(100, 3);
    for (const value of [0, 1]) {
      for (const id of order) {
        sample.add(id, value);
        assert.ok(sample.captions.length <= 100);
      }
    }
    assert.ok(!sample.isWhole);
    return sample.captions();
  };
  const taken = take(ids);
  assert.ok(taken.length > 25 && taken.length <= 100, String(taken.length));
  assert.ok(taken.every(([, values]) => values.length === 2));
  assert.deepEqual(take(ids.toReversed()), taken);
});

test("statistics of a sample say so, and agree with those of all", async () => {
  const many = Array.from({ length: 400 }, (_, i) => ({ id: `n${i}`, caption: `a dog number ${i} on grass` }));
  const folder = await folderOf(
    many.map(({ id }, i) => ({ id, source: "one", text: `dog ${i} stands on the grass`, flags: i % 4 === 0 ? ["odd"] : [] })),
    many,
  );
  const [all, some] = [await rewritesStatistics(folder), await rewritesStatistics(folder, { sample: 100 })];
  assert.ok(!some.sample.whole && some.sample.captions <= 100 && some.sources[0]!.sampled === some.sample.captions);
  assert.deepEqual([some.rewrites, some.sources[0]!.flags], [400, { odd: 100 }]);
  assert.equal(some.sources[0]!.meanWords, all.sources[0]!.meanWords);
  assert.match(describeStatistics(some), /are those of \d+ captions drawn from all/);
});

test("a writer that does not rewrite is complained about, a good one is not", () => {
  const complaints = (flags: Record<string, number>, rejected = 0): string => complaintsOn({ rewrites: 100, rejected, flags }).join("\n");
  assert.equal(complaints({ "few-shared-words": 20, "same-as-caption": 5, "rejected:too-short": 5 }, 5), "");
  assert.match(complaints({ "few-shared-words": 80 }), /80 % of the rewrites have hardly a word/);
  assert.match(complaints({ "rejected:few-shared-words": 80 }, 80), /80 % of the rewrites can't be trained on\.\n80 % .* hardly a word/);
  assert.match(complaints({ "rejected:too-short": 15, "rejected:arrow": 15 }, 30), /30 % of the rewrites can't be trained on/);
  assert.deepEqual(complaintsOn({ rewrites: 5, rejected: 5, flags: {} }), []);
});

test("the page escapes what stands in captions and loads nothing", async () => {
  const page = renderStatistics(await rewritesStatistics(await folderOf(rows), { captions: await openCaptions(file) }));
  assert.ok(page.includes("&lt;script&gt;document.title=&quot;owned&quot;"));
  assert.doesNotMatch(page, /<script|<img|<link|url\(|@import|\s(?:src|href|style)=/i);
});

function chromium(): string | undefined {
  const paths = (process.env["PATH"] ?? "").split(delimiter);
  return ["chromium", "chromium-browser", "google-chrome"]
    .flatMap((name) => paths.map((path) => join(path, name)))
    .find((path) => existsSync(path));
}

test("a browser shows the page with its plots", { skip: chromium() ? false : "Chromium is not installed" }, async () => {
  const page = join(temporary, "page.html");
  writeFileSync(page, renderStatistics(await rewritesStatistics(await folderOf(rows), { captions: await openCaptions(file) })));
  const shot = join(temporary, "shot.png");
  const flags = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    `--user-data-dir=${join(temporary, "profile")}`,
  ];
  const size = ["--hide-scrollbars", "--window-size=1100,3000", `--screenshot=${shot}`];
  await promisify(execFile)(chromium()!, [...flags, ...size, `file://${page}`], { timeout: 120_000 });
  const { data, info } = await sharp(shot).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  // The page's own background, the red of rejected rewrites, and the colours of two sources.
  for (const colour of [0xf6f5f1, 0xb23b1e, 0xe08a00, 0x0072b2]) {
    let painted = 0;
    for (let at = 0; at < data.length; at += info.channels) if (data.readUIntBE(at, 3) === colour) painted++;
    assert.ok(painted > 50, `#${colour.toString(16)}: ${painted} pixels`);
  }
});
