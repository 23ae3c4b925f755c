/**
 * Captions per CPU-second of the tokenizer, against open_clip's SimpleTokenizer in Python, in turn in one go.
 *
 *   node dist/bench/tokenizer.bench.js [--python python3] [--captions FILE] [--rounds 5]
 *
 * FILE is a COCO annotations file or has a caption a line; without it the names and keywords of all emoji make the captions. Both
 * sides see every caption once before they are measured, and must give the same ids.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { ClipTokenizer } from "../src/text/index.ts";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    captions: { type: "string" },
    rounds: { type: "string", default: "5" },
  },
});

interface Pass {
  /** CPU seconds. */
  seconds: number;
  /** SHA-256 of all ids. */
  digest: string;
}

function emojiCaptions(): string[] {
  const emoji = createRequire(import.meta.url)("emojibase-data/en/data.json") as { label: string; tags?: string[] }[];
  const templates = [
    (name: string, tags: string): string => `A picture of ${name}: ${tags}.`,
    (name: string, tags: string): string => `${name} is what we see here, isn't it? It's about ${tags}`,
    (name: string): string => `a photo of the ${name}`,
    (name: string, tags: string): string => `${tags} (${name})`,
  ];
  return emoji.flatMap(({ label, tags = [] }) => templates.map((write) => write(label, tags.join(", "))));
}

function readCaptions(path: string): string[] {
  const text = readFileSync(path, "utf8");
  if (!text.startsWith("{")) return text.split("\n").filter((line) => line !== "");
  return (JSON.parse(text) as { annotations: { caption: string }[] }).annotations.map(({ caption }) => caption);
}

function ownPass(captions: readonly string[]): Pass {
  const tokenizer = ClipTokenizer.load();
  const start = process.cpuUsage();
  const ids = captions.map((caption) => tokenizer.encode(caption));
  const { user, system } = process.cpuUsage(start);
  return {
    seconds: (user + system) / 1e6,
    digest: createHash("sha256")
      .update(ids.map((row) => row.join()).join("\n"))
      .digest("hex"),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

const captions = values.captions === undefined ? emojiCaptions() : readCaptions(values.captions);
const folder = mkdtempSync(join(tmpdir(), "laclip-bench-"));
writeFileSync(join(folder, "captions.json"), JSON.stringify(captions));
const peer = spawn(values.python, [join(import.meta.dirname, "../../bench/tokenizer_peer.py"), join(folder, "captions.json")], {
  stdio: ["pipe", "pipe", "inherit"],
});
const answers = createInterface(peer.stdout)[Symbol.asyncIterator]();

async function peerPass(): Promise<Pass> {
  peer.stdin.write("\n");
  const { value, done } = await answers.next();
  if (done) throw new Error("the Python side ended early");
  return JSON.parse(value) as Pass;
}

try {
  const own: number[] = [];
  const python: number[] = [];
  for (let round = 0; round <= Number(values.rounds); round++) {
    const [mine, theirs] = [ownPass(captions), await peerPass()];
    if (mine.digest !== theirs.digest) throw new Error("the two sides give different ids");
    if (round === 0) continue;
    own.push(captions.length / mine.seconds);
    python.push(captions.length / theirs.seconds);
  }
  const ratios = own.map((rate, round) => rate / python[round]!);
  const whole = (numbers: readonly number[]): string => `${Math.round(median(numbers))} (${numbers.map(Math.round).join(", ")})`;
  process.stdout.write(
    `captions           ${captions.length}, mean ${(captions.join("").length / captions.length).toFixed(0)} characters, ids identical\n`,
  );
  process.stdout.write(`laclip, per CPU-s  ${whole(own)}\n`);
  process.stdout.write(`Python, per CPU-s  ${whole(python)}\n`);
  process.stdout.write(`ratio              ${median(ratios).toFixed(1)} (${ratios.map((ratio) => ratio.toFixed(1)).join(", ")})\n`);
} finally {
  peer.stdin.end();
  if (peer.exitCode === null) await once(peer, "close");
  rmSync(folder, { recursive: true });
}
