/**
 * Runs of the nano model as a person starts them: the command line in processes of its own, on 24 pictures of a colour each, 3 steps an
 * epoch. And what such runs leave behind.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import type { RunEvent } from "../../src/training/index.ts";
import { type Ended, type Started, startLaclip } from "./laclip.ts";

export const colours = ["red", "green", "blue", "yellow"] as const;

export interface RunFlags {
  /** LACLIP_FAULTS. */
  faults?: string;
  /** More words of the command line. */
  flags?: readonly string[];
  /** Processes; more than one are started by `laclip launch`. Default 1. */
  ranks?: number;
}

/** Waits until something has happened: two minutes at most, and no longer than the run that is to do it lasts. */
export async function until(what: () => boolean, { ended }: Pick<Started, "ended">): Promise<void> {
  let end: Ended | undefined;
  ended.then(
    (how) => (end = how),
    () => {}, // whoever started it hears of it
  );
  for (let i = 0; i < 4800 && end === undefined && !what(); i++) await sleep(25);
  assert.ok(what(), end === undefined ? "waited two minutes in vain" : `it ended with ${end.code} before: ${end.stderr}`);
}

/** Faults that hold a run before one of its steps until it is ended from outside, however late that is. */
export function heldBefore(step: number): string {
  return `slow-batch@${step}=3600000`;
}

/** Processes that a process has started, in their order: the ranks of a launcher. */
export function childrenOf(pid: number): number[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  } catch {
    return []; // it is gone
  }
  const words = text.split(" ");
  return words.filter((word) => word.trim() !== "").map(Number);
}

/** Kills a process that may have come to its end at this moment. */
export function killIfAlive(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Whether a process has ended; one whose end nobody has looked at yet has, too. */
export function hasEnded(pid: number): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
}

/** A picture of one colour. */
export async function plainPicture(background: string, width: number, height: number): Promise<Buffer> {
  return await sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
}

export class NanoRuns {
  /** Folder of all runs. */
  readonly root: string;
  /** Folder with the data, after `open`. */
  readonly data: string;

  /** @param name told apart from other tests by it */
  constructor(name: string) {
    this.root = mkdtempSync(join(tmpdir(), `laclip-${name}-`));
    this.data = join(this.root, "data");
  }

  /** Writes the data. */
  async open(): Promise<void> {
    mkdirSync(join(this.data, "images"), { recursive: true });
    const rows = ["id,image,caption"];
    for (let i = 0; i < 24; i++) {
      const colour = colours[i % colours.length]!;
      writeFileSync(join(this.data, "images", `${i}.png`), await plainPicture(colour, 20 + i, 24));
      rows.push(`sample-${i},images/${i}.png,a ${colour} picture number ${i}`);
    }
    writeFileSync(join(this.data, "captions.csv"), `${rows.join("\n")}\n`);
  }

  close(): void {
    rmSync(this.root, { recursive: true });
  }

  /** The words of a run: the demo's recipe, but for the nano model, batches of 8, and a checkpoint every second step. */
  words(out: string, settings: readonly string[], flags: readonly string[] = []): string[] {
    const own = [
      "model.preset=nano",
      "training.batchSize=8",
      "training.warmupSteps=2",
      "training.checkpointEvery=2",
      "training.logEvery=1",
    ];
    const sets = [...own, ...settings].flatMap((setting) => ["--set", setting]);
    return ["train", "emoji-clip", "--data", this.data, "--out", join(this.root, out), ...sets, ...flags];
  }

  /** @param out name of the run folder, which is gone on with when it is there */
  start(out: string, settings: readonly string[], { faults = "", flags = [], ranks = 1 }: RunFlags = {}): Started {
    const launch = ranks > 1 ? ["launch", "--processes", String(ranks), "--"] : [];
    const variables = { LACLIP_FAULTS: faults, LACLIP_THREADS: String(ranks), LACLIP_MEETING_TIMEOUT: "120", LACLIP_RANKS_TIMEOUT: "120" };
    return startLaclip([...launch, ...this.words(out, settings, flags)], { env: variables });
  }

  /** Waits until it ends, however it does. */
  async train(...args: Parameters<NanoRuns["start"]>): Promise<Ended> {
    return await this.start(...args).ended;
  }

  /** Expects it to end well. @returns what it said */
  async finished(...args: Parameters<NanoRuns["start"]>): Promise<string> {
    const { code, stderr } = await this.train(...args);
    assert.equal(code, 0, stderr);
    return stderr;
  }

  path(out: string, ...more: string[]): string {
    return join(this.root, out, ...more);
  }

  /** Hash of the finished model's weights. */
  weights(out: string): string {
    return createHash("sha256")
      .update(readFileSync(this.path(out, "model", "model.safetensors")))
      .digest("hex");
  }

  /** Names of the checkpoints, oldest first; none where the run folder is not there yet. */
  checkpoints(out: string): string[] {
    const folder = this.path(out, "checkpoints");
    if (!existsSync(folder)) return [];
    const names = readdirSync(folder).filter((name) => name.startsWith("step-"));
    return names.toSorted();
  }

  /** Events of a kind, those of a run under way too; none where the run folder is not there yet. */
  events(out: string, kind: string): RunEvent[] {
    const path = this.path(out, "events.jsonl");
    if (!existsSync(path)) return [];
    return readFileSync(path, "utf8")
      .split("\n")
      .slice(0, -1) // what is behind the last end of a line is being written
      .map((line) => JSON.parse(line) as RunEvent)
      .filter(({ event }) => event === kind);
  }

  /** A measure of each step in the log. */
  measured(out: string, measure: string): number[] {
    return this.events(out, "train").map((event) => Number(event[measure]));
  }
}
