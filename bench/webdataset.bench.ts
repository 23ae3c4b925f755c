/**
 * Megabytes per CPU-second of reading captions from the tars of a webdataset, and of writing the tars once more with rewrites in
 * them, against Python's tarfile, in turn in one go.
 *
 *   node dist/bench/webdataset.bench.js [--python python3] [--tars 2] [--samples 5000] [--image-bytes 40000] [--rounds 5]
 *
 * Our copy does more than the peer's: it joins the rewrites of a folder to the samples first.
 */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { openRewritesFolder } from "../src/data/index.ts";
import { TarWriter } from "../src/formats/index.ts";
import { EdaEngine, exportWebdataset, openCaptions, rewriteCaptions } from "../src/rewriting/index.ts";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    tars: { type: "string", default: "2" },
    samples: { type: "string", default: "5000" },
    "image-bytes": { type: "string", default: "40000" },
    rounds: { type: "string", default: "5" },
  },
});

const folder = mkdtempSync(join(tmpdir(), "laclip-bench-"));

async function makeTars(): Promise<string[]> {
  const image = randomBytes(Number(values["image-bytes"]));
  mkdirSync(join(folder, "shards"));
  const paths: string[] = [];
  for (let shard = 0; shard < Number(values.tars); shard++) {
    const tar = await TarWriter.create(join(folder, "shards", `${String(shard).padStart(5, "0")}.tar`));
    for (let i = 0; i < Number(values.samples); i++) {
      const [key, caption] = [`${shard}-${String(i).padStart(6, "0")}`, `a photo of ${i} brown dogs that run over the grass`];
      await tar.add({ name: `${key}.jpg` }, image);
      await tar.add({ name: `${key}.json` }, Buffer.from(JSON.stringify({ caption, url: `http://example.com/${key}.jpg`, width: 256 })));
      await tar.add({ name: `${key}.txt` }, Buffer.from(caption));
    }
    await tar.finish();
    paths.push(tar.path);
  }
  return paths;
}

async function cpuSeconds(work: () => Promise<void>): Promise<number> {
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

async function digestOfCaptions(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const batch of (await openCaptions(path)).rows()) for (const { caption } of batch) hash.update(`${caption}\n`);
  return hash.digest("hex");
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

const peer = spawn(values.python, [join(import.meta.dirname, "../../bench/webdataset_peer.py")], { stdio: ["pipe", "pipe", "inherit"] });
const answers = createInterface(peer.stdout)[Symbol.asyncIterator]();

async function askPeer(...command: readonly string[]): Promise<{ seconds: number; digest: string }> {
  peer.stdin.write(`${JSON.stringify(command)}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error("the Python side ended early");
  return JSON.parse(value) as { seconds: number; digest: string };
}

try {
  const tars = await makeTars();
  const shards = join(folder, "shards");
  const megabytes = tars.reduce((sum, path) => sum + statSync(path).size, 0) / 1e6;
  const captions = await openCaptions(shards);
  const engine = new EdaEngine();
  await rewriteCaptions({ captions, out: join(folder, "rewrites"), engine, sources: [], seed: 0, createdWith: "bench" });
  const rewrites = await openRewritesFolder(join(folder, "rewrites"));
  const rates: Record<"read" | "copy", { own: number[]; python: number[] }> = {
    read: { own: [], python: [] },
    copy: { own: [], python: [] },
  };
  for (let round = 0; round < Number(values.rounds); round++) {
    let digest = "";
    rates.read.own.push(megabytes / (await cpuSeconds(async () => void (digest = await digestOfCaptions(shards)))));
    const theirs = await askPeer("read", ...tars);
    if (theirs.digest !== digest) throw new Error("the two sides read different captions");
    rates.read.python.push(megabytes / theirs.seconds);

    const out = join(folder, `out-${round}`);
    rates.copy.own.push(megabytes / (await cpuSeconds(async () => void (await exportWebdataset(rewrites, { captions, out })))));
    let seconds = 0;
    for (const [i, tar] of tars.entries())
      ({ seconds } = { seconds: seconds + (await askPeer("copy", tar, join(folder, `${i}.tar`))).seconds });
    rates.copy.python.push(megabytes / seconds);
    rmSync(out, { recursive: true });
  }
  process.stdout.write(
    `${tars.length} tars, ${megabytes.toFixed(0)} MB, ${Number(values.samples) * tars.length} samples; MB per CPU-second, medians\n`,
  );
  for (const [what, { own, python }] of Object.entries(rates)) {
    const ratios = own.map((rate, round) => rate / python[round]!);
    process.stdout.write(
      `${what}  laclip ${median(own).toFixed(0)}, Python ${median(python).toFixed(0)}, ratio ${median(ratios).toFixed(2)} (${ratios.map((ratio) => ratio.toFixed(2)).join(", ")})\n`,
    );
  }
} finally {
  peer.stdin.end();
  if (peer.exitCode === null) await once(peer, "close");
  rmSync(folder, { recursive: true });
}
