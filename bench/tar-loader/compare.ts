/**
 * The whole loader, from tars to batches, against a torch DataLoader with two workers on the same tars.
 *
 *   node dist/bench/tar-loader/compare.js --python python3 [--images 4000] [--width 500] [--rounds 5] [--size 224] [--batch 64]
 *
 * The tars hold made photos with captions and rewrites. Here, a batch has its crops, its drawn and tokenized captions; there, crops and
 * captions as text. Both sides have the machine's processors, and run in turn; images a second by the clock, medians of the rounds.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type ShardedSamples, countSamples, listShards, openLoader } from "../../src/data/index.ts";
import { TarWriter } from "../../src/formats/index.ts";
import { makePhotos } from "../images/photos.ts";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    images: { type: "string", default: "4000" },
    width: { type: "string", default: "500" },
    rounds: { type: "string", default: "5" },
    size: { type: "string", default: "224" },
    batch: { type: "string", default: "64" },
  },
});
const [count, width, rounds, size, batchSize] = [values.images, values.width, values.rounds, values.size, values.batch].map(Number) as [
  number,
  number,
  number,
  number,
  number,
];
const folder = mkdtempSync(join(tmpdir(), "laclip-tar-loader-"));
const tarCount = 8;

/** Some hundred different photos, each in the tars several times: a processor's caches hold none of them. */
async function makeTars(): Promise<number> {
  const set = { name: `${width} wide`, width, height: Math.round(width * 0.75), count: 200, grain: 0.012 };
  const different = (await makePhotos(join(folder, "photos"), set)).map((path) => readFileSync(path));
  let bytes = 0;
  for (let tar = 0; tar < tarCount; tar++) {
    const writer = await TarWriter.create(join(folder, `${String(tar).padStart(5, "0")}.tar`));
    for (let i = tar; i < count; i += tarCount) {
      const key = String(i).padStart(9, "0");
      const image = different[i % different.length]!;
      bytes += image.length;
      const caption = `a photo of thing number ${i} beside another one on a street in the morning`;
      await writer.add({ name: `${key}.jpg` }, image);
      await writer.add({ name: `${key}.txt` }, Buffer.from(caption));
      await writer.add(
        { name: `${key}.json` },
        Buffer.from(JSON.stringify({ caption, caption_chatgpt: `${caption}, in other words`, caption_human: `people see ${i}` })),
      );
    }
    await writer.finish();
  }
  return bytes / count;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}

const meanBytes = await makeTars();
const shards = await countSamples(await listShards(folder), { cache: join(folder, "cache") });
const samples: ShardedSamples = { shards };
const steps = Math.floor(count / batchSize);

async function ours(): Promise<number> {
  const loader = openLoader({ samples, batchSize, imageSize: size, seed: 1, choose: "uniform", totalSteps: steps + 4, prefetch: 6 });
  // The first batches carry the start of the thread, as the other side's workers are there already.
  for (let i = 0; i < 4; i++) await loader.next();
  const started = performance.now();
  let images = 0;
  for await (const { ids } of loader) images += ids.length;
  return images / ((performance.now() - started) / 1000);
}

const script = fileURLToPath(new URL("../../../bench/tar-loader/peer.py", import.meta.url));
const peers = ["0", "1"].map((draft) => {
  const child = spawn(values.python, [script, String(size), String(batchSize), draft, ...shards.map(({ address }) => address)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](), rates: [] as number[] };
});
const rates: number[] = [];
for (let round = 0; round <= rounds; round++) {
  const rate = await ours();
  if (round > 0) rates.push(rate);
  for (const peer of peers) {
    peer.child.stdin.write("\n");
    const [seconds, images] = String((await peer.lines.next()).value)
      .split(" ")
      .map(Number) as [number, number];
    // The first round only warms up.
    if (round > 0) peer.rates.push(images / seconds);
  }
}
for (const { child } of peers) {
  child.stdin.end();
  await once(child, "exit");
}
console.log(
  `${count} photos of ${width} x ${Math.round(width * 0.75)}, ${(meanBytes / 1000).toFixed(0)} kB each, ${tarCount} tars, crops of ${size}, batches of ${batchSize}, ${availableParallelism()} processors\n`,
);
console.log("| | images a second, median | rounds | laclip, times that |");
console.log("|---|--:|---|--:|");
const row = (name: string, found: readonly number[], ratio: string): string =>
  `| ${name} | ${median(found).toFixed(0)} | ${Math.min(...found).toFixed(0)}-${Math.max(...found).toFixed(0)} | ${ratio} |`;
console.log(row("laclip", rates, ""));
console.log(row("DataLoader, 2 workers", peers[0]!.rates, (median(rates) / median(peers[0]!.rates)).toFixed(2)));
console.log(row("DataLoader, 2 workers, draft()", peers[1]!.rates, (median(rates) / median(peers[1]!.rates)).toFixed(2)));
rmSync(folder, { recursive: true });
