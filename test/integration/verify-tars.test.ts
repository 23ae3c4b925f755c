/** Every defect that is planted in a tar is found, by its name, and nothing else is. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pack } from "tar-stream";
import { openCollection, packShards, verifyTar, verifyTars } from "../../src/curation/index.ts";
import type { TarReport, VerifyTarsOptions } from "../../src/curation/index.ts";
import { openTarPairs } from "../../src/data/index.ts";
import { DataError, EndpointError, setLogLevel } from "../../src/support/index.ts";
import { serveFolder } from "./file-server.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { picture, writeCollection } from "./small-collection.ts";
import { writeTar } from "./tar-files.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-verify-"));
after(() => rmSync(folder, { recursive: true }));

let photo: Buffer;
let tars = 0;
before(async () => {
  photo = await picture(1, "jpeg", [120, 90]);
});

type Members = readonly (readonly [name: string, content: string | Buffer | object])[];

/** What is found in a tar with these members between two samples that are whole. */
async function found(members: Members, options?: VerifyTarsOptions): Promise<TarReport> {
  const whole = (key: string): Members => [
    [`${key}.jpg`, photo],
    [`${key}.txt`, "a dog"],
  ];
  return await verifyTar(await writeTar(join(folder, `${tars++}.tar`), [...whole("first"), ...members, ...whole("last")]), options);
}

const says = ({ faults }: TarReport): string[] => faults.map(({ kind, key, says: words }) => `${kind} ${key}: ${words}`);

test("samples that are whole have no fault, in whatever form their caption and image come", async () => {
  const report = await found(
    [
      ["__meta__", "not for readers"],
      ["README", "no sample"],
      ["a/b.c/1.JPG", photo],
      ["a/b.c/1.json", '{"caption": "a dog", "similarity": NaN}'],
      ["2.png", await picture(2, "png")],
      ["2.txt", "a cat"],
      ["2.webp", await picture(3, "webp")],
      ["2.npy", "anything"],
    ],
    { decode: true },
  );
  assert.deepEqual(report.faults, []);
  assert.equal(report.samples, 4);
});

test("each planted defect of a sample is found", async () => {
  const cut = (await picture(4, "jpeg", [300, 300])).subarray(0, 1500);
  const cases: [Members, string[], VerifyTarsOptions?][] = [
    [[["1.jpg", photo], ["1.txt", "a"], ["1.txt", "b"]], ["repeated-suffix 1: .txt comes again", "no-image 1: only txt"]],
    [[["first.jpg", photo], ["first.txt", "a"]], ["repeated-suffix first: .jpg comes again"]],
    [[["1.jpg", photo], ["1.txt", "a"], ["2.jpg", photo], ["2.txt", "b"], ["1.png", photo], ["1.json", { caption: "c" }]], ["repeated-key 1: it was there before"]],
    [[["1.txt", "a"], ["1.json", {}]], ["no-image 1: only txt, json"]],
    [[["1.jpg", photo]], ["no-caption 1: no .txt and no .json"]],
    [[["1.jpg", photo], ["1.txt", " \n"]], ["no-caption 1: its .txt is empty"]],
    [[["1.jpg", photo], ["1.json", { words: "a dog" }]], ["no-caption 1: no .txt, and no caption in the .json"]],
    [[["1.jpg", photo], ["1.txt", Buffer.from([0xff, 0xfe, 0x41])]], ["bad-text 1: .txt is no UTF-8", "no-caption 1: its .txt is empty"]],
    [[["1.jpg", photo], ["1.txt", "a"], ["1.json", "[1]"]], ["bad-text 1: .json is not a JSON object: [1]"]],
    [[["1.jpg", ""], ["1.txt", "a"]], ["no-picture 1: .jpg is empty"]],
    [[["1.jpg", "<!DOCTYPE html><p>404"], ["1.txt", "a"]], ["no-picture 1: .jpg is a web page"]],
    [[["1.jpg", "<html>"], ["1.txt", "a"]], ["no-picture 1: .jpg: a web page, expected an image."], { decode: true }],
    [[["1.jpg", "words"], ["1.txt", "a"]], ["no-picture 1: .jpg is no image of a known format"]],
    [[["1.jpg", cut], ["1.txt", "a"]], []],
    [[["1.jpg", cut], ["1.txt", "a"]], ["unreadable-image 1: .jpg: cut short or damaged."], { decode: true }],
  ]; // prettier-ignore
  for (const [members, expected, options] of cases) {
    const report = await found(members, options);
    assert.deepEqual(says(report), expected, JSON.stringify(members.map(([name]) => name)));
  }
});

test("links and names that lead out of the tar are told of, and read by nobody", async () => {
  const archive = pack();
  const chunks: Buffer[] = [];
  archive.on("data", (chunk) => void chunks.push(chunk as Buffer));
  archive.entry({ name: "1.jpg" }, photo);
  archive.entry({ name: "1.txt" }, "a dog");
  archive.entry({ name: "2.jpg", type: "symlink", linkname: "/etc/passwd" });
  archive.entry({ name: "2.txt" }, "a cat");
  archive.entry({ name: "../3.jpg" }, photo);
  archive.entry({ name: "/4.txt" }, "a horse");
  archive.finalize();
  await once(archive, "end");
  const path = join(folder, "links.tar");
  writeFileSync(path, Buffer.concat(chunks));
  const report = await verifyTar(path);
  assert.deepEqual(says(report), [
    "no-image 2: only txt",
    "passed-over undefined: 1 member is a link",
    "passed-over undefined: 2 members have names that are absolute or lead out of the tar (../)",
  ]);
  const { samples, skipped } = await openTarPairs([path], { name: path, maximumSkipped: 0.5 });
  assert.deepEqual([samples.length, samples.id(0), skipped.missingImages], [1, "1", 1]);
});

test("a caption under another key counts where it is asked for", async () => {
  const members: Members = [["1.jpg", photo], ["1.json", { top_caption: "a dog" }]]; // prettier-ignore
  const { faults } = await found(members, { captionColumn: "top_caption" });
  assert.deepEqual(
    faults.map(({ key }) => key),
    ["first", "last"],
    "the .txt is not what was asked for",
  );
});

test("all faults are counted, a few of each kind named", async () => {
  const { counts, faults } = await found(
    Array.from({ length: 20 }, (_, i) => [`${i}.txt`, "a"] as const),
    { examples: 3 },
  );
  assert.deepEqual(counts, { "no-image": 20 });
  assert.equal(faults.length, 3);
});

test("a tar that is cut off anywhere, or has a damaged header, is found", async () => {
  const path = await writeTar(join(folder, "whole.tar"), [["1.jpg", photo], ["1.txt", "a dog"], ["2.jpg", photo], ["2.txt", "a cat"]]); // prettier-ignore
  const bytes = readFileSync(path);
  const damaged = join(folder, "damaged.tar");
  for (const length of [1, 511, 700, 512 + photo.length, 6144, bytes.length - 1024, bytes.length - 513]) {
    writeFileSync(damaged, bytes.subarray(0, length));
    const { counts } = await verifyTar(damaged);
    assert.deepEqual(counts, { damaged: 1 }, `cut to ${length} bytes`);
  }
  const header = Buffer.from(bytes);
  header[bytes.indexOf("2.jpg") + 130] = 0x7a;
  writeFileSync(damaged, header);
  const { counts, samples } = await verifyTar(damaged);
  assert.deepEqual([counts, samples], [{ damaged: 1 }, 1]);
});

test("what the index and img2dataset's counts say is compared", async () => {
  await writeCollection(join(folder, "collection"), 12);
  const { pairs } = await openCollection({ path: join(folder, "collection") });
  const out = join(folder, "packed");
  await packShards({ pairs, out, samplesPerShard: 3, createdWith: "test" });
  const clean = await verifyTars([out], { decode: true });
  assert.deepEqual([clean.faults, clean.samples, clean.tars.every(({ compared }) => compared)], [0, 12, true]);

  const first = readFileSync(join(out, "00000.tar"));
  first[first.indexOf("picture")]! ^= 1;
  writeFileSync(join(out, "00000.tar"), first);
  rmSync(join(out, "00001.tar"));
  truncateSync(join(out, "00002.tar"), 2048);
  writeFileSync(join(out, "00007.tar"), readFileSync(join(out, "00003.tar")));
  const { tars: reports } = await verifyTars([out]);
  assert.deepEqual(
    reports.map(({ path, counts }) => [path.slice(out.length + 1), Object.keys(counts).sort()]),
    [
      ["00000.tar", ["sha256"]],
      ["00001.tar", ["missing"]],
      ["00002.tar", ["bytes", "damaged", "samples"]],
      ["00003.tar", []],
      ["00007.tar", ["not-in-index"]],
    ],
  );

  const server = await serveFolder(folder);
  after(() => server.close());
  const { tars: remote } = await verifyTars([`${server.host}/packed/{00000,00002,00003,00007,00009}.tar?key=sesame`]);
  assert.deepEqual(
    remote.map(({ path, counts }) => [path.slice(server.host.length), Object.keys(counts).sort()]),
    [
      ["/packed/00000.tar", ["sha256"]],
      ["/packed/00002.tar", ["bytes", "damaged", "samples"]],
      ["/packed/00003.tar", []],
      ["/packed/00007.tar", ["not-in-index"]],
      ["/packed/00009.tar", ["damaged", "not-in-index"]],
    ],
  );
  assert.match(remote[4]!.faults[0]!.says, /no such file/);
  assert.equal(server.asked.filter((path) => path.endsWith("00003.tar")).length, 1, "fetched once");
  await assert.rejects(verifyTars([`${server.host}/broken/0.tar`]), EndpointError);

  const other = join(folder, "img2dataset");
  mkdirSync(other);
  await writeTar(join(other, "00000.tar"), [["1.jpg", photo], ["1.txt", "a dog"]]); // prettier-ignore
  writeFileSync(join(other, "00000_stats.json"), JSON.stringify({ count: 4, successes: 1, failed_to_download: 3 }));
  assert.equal((await verifyTars([other])).faults, 0);
  writeFileSync(join(other, "00000_stats.json"), JSON.stringify({ count: 4, successes: 2, failed_to_download: 2 }));
  assert.deepEqual((await verifyTars([other])).tars[0]!.counts, { samples: 1 });

  for (const name of ["00000.tar", "00002.tar", "00003.tar", "00007.tar"]) rmSync(join(out, name));
  assert.equal((await verifyTars([out])).faults, 4, "a folder that lost all of its tars");
  writeFileSync(join(out, "laclip.index.json"), "{}");
  await assert.rejects(verifyTars([out]), DataError);
});

test("the command ends with 3 where something is wrong, with 0 where nothing is, and tells of it as text and JSON", async () => {
  const good = await writeTar(join(folder, "good.tar"), [["1.jpg", photo], ["1.txt", "a dog"]]); // prettier-ignore
  const bad = await writeTar(join(folder, "bad.tar"), [["1.jpg", photo], ["\u001b[31m2.txt", "a dog"]]); // prettier-ignore
  const run = async (...args: string[]): Promise<Ended> => await runLaclip(["data", "verify", ...args]);
  assert.equal((await run(good, "--decode")).code, 0);
  const { code, stdout, stderr } = await run(good, bad);
  assert.equal(code, 3);
  assert.match(stdout, /good\.tar: 1 samples, .*nothing wrong/);
  assert.match(stdout, /bad\.tar: 2 samples, .*1 no-caption, 1 no-image/);
  assert.ok(!stdout.includes("\u001b"));
  assert.match(stderr, /1 of 2 tars are not as they should be/);
  const json = await run(good, bad, "--json");
  assert.equal(json.code, 3);
  assert.equal((JSON.parse(json.stdout) as { faults: number }).faults, 2);
});
