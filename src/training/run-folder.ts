/** What a run leaves behind, and all that later commands read. docs/training.md lists the files ("The run folder"). */
import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { TfeventsWriter } from "../formats/index.ts";
import {
  FolderLock,
  UsageError,
  explainWriteFailure,
  isRecord,
  log,
  makeFolder,
  readJson,
  readJsonLines,
  warnOnce,
  writeAll,
  writeFileAtomic,
} from "../support/index.ts";

/** One line of `events.jsonl`. Measurements carry open_clip's names: `train/loss`, `train/lr`, ... */
export interface RunEvent {
  /** ISO 8601, UTC */
  time: string;
  /** "train", "evaluation", "checkpoint", "resume", "finished", ... */
  event: string;
  /** Steps finished when it happened. */
  step: number;
  [measure: string]: number | string | boolean | undefined;
}

/** A run on disk: its settings, events and checkpoints. One process writes it, others may read. */
export class RunFolder {
  readonly path: string;
  /** Undefined for a process that only follows. */
  readonly #lock: FolderLock | undefined;
  #events: number | undefined;
  #tfevents: TfeventsWriter | undefined;
  readonly #listeners: ((event: RunEvent) => void)[] = [];

  private constructor(path: string, lock: FolderLock | undefined) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Makes the folder, or opens it again when its settings are the same.
   * @param config everything that the numbers of the run depend on; must survive JSON
   * @param free settings in it that may be others when the run is gone on with, such as "recipe.training.microBatch"
   * @throws UsageError when the folder holds a run with other settings, naming them; DataError when another process is training in it
   */
  static open(path: string, config: object, free: readonly string[] = []): RunFolder {
    const text = `${JSON.stringify(config, null, 2)}\n`;
    makeFolder(path);
    const lock = FolderLock.take(join(path, "lock"), "run folder");
    const run = new RunFolder(path, lock);
    try {
      keepConfig(run, text, free);
    } catch (error) {
      lock.release();
      throw error;
    }
    return run;
  }

  /** The folder as the other ranks of a run see it: they write nothing, and what they record is left to the first. */
  static follow(path: string): RunFolder {
    return new RunFolder(path, undefined);
  }

  get checkpoints(): string {
    return join(this.path, "checkpoints");
  }

  get model(): string {
    return join(this.path, "model");
  }

  /** What was passed over after roll-backs; see `SkippedSteps`. */
  get skippedSteps(): string {
    return join(this.path, "skipped.json");
  }

  /** How steps were split; see `StepSplits`. */
  get splits(): string {
    return join(this.path, "splits.json");
  }

  /** What tracking servers call this run; see `Reporter`. */
  get trackers(): string {
    return join(this.path, "trackers.json");
  }

  /** Changes while steps are finished; see `StallWatch`. */
  get heartbeat(): string {
    return join(this.path, "heartbeat.json");
  }

  /** True when the run was trained to its end. */
  get finished(): boolean {
    return existsSync(join(this.model, "laclip.json"));
  }

  /** Events so far; see `readEvents`. */
  events(): RunEvent[] {
    return readEvents(join(this.path, "events.jsonl"));
  }

  /**
   * Forgets events after `step`: a resumed run makes them again, and no reader should see them twice. Damaged lines stay as they are.
   */
  rewind(step: number): void {
    if (this.#lock === undefined) return;
    const file = join(this.path, "events.jsonl");
    const kept = eventLines(file).filter(({ event }) => event === undefined || event.step <= step);
    const events = this.#events;
    this.#events = undefined;
    if (events !== undefined) closeSync(events);
    writeFileAtomic(file, kept.map(({ text }) => `${text}\n`).join(""));
  }

  /** Hears of every event from now on. */
  listen(listener: (event: RunEvent) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Appends an event; measurements and evaluations also go to TensorBoard. On a full disk the event is lost, which is said once:
   * training is worth more than its log.
   */
  record(event: string, step: number, measures: Record<string, number | string | boolean | undefined> = {}): void {
    if (this.#lock === undefined) return;
    const line: RunEvent = { time: new Date().toISOString(), event, step, ...measures };
    for (const listener of this.#listeners) listener(line);
    try {
      this.#events ??= openSync(join(this.path, "events.jsonl"), "a");
      appendWhole(this.#events, Buffer.from(`${JSON.stringify(line)}\n`));
      if (event === "train" || event === "evaluation") this.#plot(step, measures);
    } catch (error) {
      this.#tellLoss(error);
    }
  }

  #plot(step: number, measures: Record<string, number | string | boolean | undefined>): void {
    try {
      this.#tfevents ??= this.#openTfevents(step);
      for (const [name, value] of Object.entries(measures)) {
        if (typeof value === "number" && Number.isFinite(value)) this.#tfevents.scalar(name, value, step);
      }
    } catch (error) {
      this.#endPlots(); // its last record may be cut short: the next goes into a new file
      throw error;
    }
  }

  #openTfevents(step: number): TfeventsWriter {
    const writer = new TfeventsWriter(join(this.path, "tfevents"));
    writer.start(step + 1); // the points of `step` itself stay
    return writer;
  }

  /** Makes everything recorded so far survive a power cut. */
  sync(): void {
    try {
      if (this.#events !== undefined) fsyncSync(this.#events);
      this.#tfevents?.flush();
    } catch (error) {
      this.#endPlots();
      this.#tellLoss(error);
    }
  }

  /** Ends the file for TensorBoard after a failure, which is what is told, whatever else fails at its end. */
  #endPlots(): void {
    try {
      this.#tfevents?.close();
    } catch (error) {
      log.debug(`${this.path}: ${(error as Error).message}`);
    } finally {
      this.#tfevents = undefined;
    }
  }

  #tellLoss(error: unknown): void {
    if (!isFull(error)) throw explainWriteFailure(error, this.path);
    warnOnce(`full disk ${this.path}`, `${this.path}: the disk is full. Events are lost until there is space again.`);
  }

  /** Ends the files and lets other processes have the folder, also where ending a file fails. */
  close(): void {
    const [events, tfevents] = [this.#events, this.#tfevents];
    [this.#events, this.#tfevents] = [undefined, undefined];
    try {
      try {
        if (events !== undefined) closeSync(events);
      } finally {
        tfevents?.close();
      }
    } catch (error) {
      this.#tellLoss(error);
    } finally {
      this.#lock?.release();
    }
  }
}

/** Adds a line, or nothing: what a full disk took of it is taken back, since half a line would spoil the next one too. */
function appendWhole(file: number, line: Buffer): void {
  const { size } = fstatSync(file);
  try {
    writeAll(file, line);
  } catch (error) {
    ftruncateSync(file, size);
    throw error;
  }
}

/** True for a full disk, plain or as our writers say it. */
function isFull(error: unknown): boolean {
  const code = (one: unknown): unknown => (one as { code?: unknown } | undefined)?.code;
  return ["ENOSPC", "EDQUOT"].includes(String(code(error) ?? code((error as { cause?: unknown } | undefined)?.cause)));
}

/** Writes the settings into a new folder; holds those of an old one against them, and keeps what an unfinished run goes on with. */
function keepConfig({ path, finished }: RunFolder, text: string, free: readonly string[]): void {
  const file = join(path, "config.json");
  if (!existsSync(file)) return writeFileAtomic(file, text);
  const all = differing(readJson(file, "run configuration"), JSON.parse(text) as unknown);
  const isFree = (difference: string): boolean => free.some((setting) => difference.startsWith(`${setting}:`));
  const differences = all.filter((difference) => !isFree(difference));
  if (differences.length === 0) {
    if (all.length === 0 || finished) return;
    log.info(`${path}: goes on with other settings than before:\n  ${all.join("\n  ")}`);
    writeFileAtomic(file, text);
  } else {
    throw new UsageError(`${path} holds a run with other settings:\n  ${differences.slice(0, 8).join("\n  ")}`, {
      mend: "Give another --out folder for the new run, or the old settings to go on with the old one.",
    });
  }
}

/**
 * The events of a file; none when there is no file. A last line that was cut short when the machine died is left out, and so are damaged
 * lines, of which a warning tells: training is worth more than its log.
 */
export function readEvents(path: string): RunEvent[] {
  return eventLines(path).flatMap(({ event }) => event ?? []);
}

/** The lines of a file of events; `event` is undefined in damaged ones. */
function eventLines(path: string): { text: string; event: RunEvent | undefined }[] {
  if (!existsSync(path)) return [];
  const { lines } = readJsonLines(path, "file of events", { damaged: "mark" });
  return lines.map(({ number, text, value }) => {
    if (isEvent(value)) return { text, event: value };
    warnOnce(`damaged ${path} ${number}`, `${path}: line ${number} is no event; it is passed over.`);
    return { text, event: undefined };
  });
}

function isEvent(value: unknown): value is RunEvent {
  return isRecord(value) && typeof value["event"] === "string" && typeof value["step"] === "number";
}

/** "training.lr: 0.001 there, 0.002 now" for each leaf that differs. */
function differing(there: unknown, now: unknown, path = ""): string[] {
  if (isRecord(there) && isRecord(now)) {
    return [...new Set([...Object.keys(there), ...Object.keys(now)])].flatMap((key) =>
      differing(there[key], now[key], path === "" ? key : `${path}.${key}`),
    );
  }
  const [a, b] = [JSON.stringify(there), JSON.stringify(now)];
  return a === b ? [] : [`${path}: ${a ?? "not set"} there, ${b ?? "not set"} now`];
}
