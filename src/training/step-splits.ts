/**
 * How the steps of a run are split to fit into memory: as the recipe says, or else the fastest way that fits.
 *
 * The first batch decides, by an estimate (step-memory.ts). A step that takes the device's whole memory all the same is taken once more in
 * smaller parts, if it has changed nothing yet; and what the second step was seen to take may show that there is room for a faster way.
 *
 * A split changes how gradients round. So the run folder remembers which steps had which one, and a run that is gone on with, or begun
 * anew from an earlier step, takes the same ones as long as they fit.
 */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { z } from "zod";
import {
  LaclipError,
  ModelFormatError,
  NativeError,
  availableMemory,
  explainWriteFailure,
  formatBytes,
  log,
  readJson,
  sha256,
  writeFileAtomic,
} from "../support/index.ts";
import {
  deviceMemory,
  isOutOfMemory,
  measureMemory,
  mostAttentionRows,
  randomState,
  releaseMemory,
  resetPeakMemory,
  setRandomState,
} from "../torch/index.ts";
import { StepMemory, type StepSizes, type StepSplit, sizesOf } from "./step-memory.ts";
import type { StepInput } from "./step.ts";
import type { TrainOptions } from "./train-options.ts";
import type { TrainSettings } from "./train-settings.ts";

/** What a recipe says of it: numbers and flags hold, "auto" is chosen. */
export type SplitSettings = Pick<TrainSettings, "microBatch" | "recomputeBlocks">;

/** Shares of the memory that is there which a step may take by the estimate: the rest is for what was not counted, and gaps. */
const usable = { device: 0.85, processor: 0.75 };

/** Steps with a split that was chosen by the estimate, until what they take is held against it. */
const looks = 2;

/** A step with forward and backward pass takes 3 of these; either way of taking less memory costs one more forward pass. */
const again = 1;
/** Micro-batches compute a little more again than blocks do. */
const aside = 1.05;

/** Images at once below which a pass is no longer proportionally faster: a device that works aside waits for work then. */
const enough = { device: 64, processor: 4 };

/** Time that a step takes by this way of splitting it, in forward passes. */
function cost({ microBatch, recomputeBlocks }: StepSplit, batchSize: number, kind: keyof typeof enough): number {
  const whole = microBatch >= batchSize;
  const passes = 3 + (recomputeBlocks ? again : 0) + (whole ? 0 : aside);
  return passes * Math.max(1, Math.min(enough[kind], batchSize) / microBatch);
}

/**
 * Ways to split a step that the settings allow, the fastest first; of equals, those of larger parts.
 * @param most images of a part, where the settings leave that open. Default no limit
 */
export function possibleSplits(batchSize: number, settings: SplitSettings, kind: keyof typeof enough, most = Infinity): StepSplit[] {
  const { microBatch = "auto", recomputeBlocks = "auto" } = settings;
  const sizes = microBatch === "auto" ? partSizes(batchSize).filter((size) => size <= most) : [Math.min(microBatch, batchSize)];
  const ways = recomputeBlocks === "auto" ? [false, true] : [recomputeBlocks];
  return ways
    .flatMap((recompute) => sizes.map((size) => ({ microBatch: size, recomputeBlocks: recompute })))
    .toSorted((a, b) => cost(a, batchSize, kind) - cost(b, batchSize, kind) || b.microBatch - a.microBatch);
}

/** The batch, and what makes two, three and more equal parts of it; larger ones in eights, which matrix products like. */
function partSizes(batchSize: number): number[] {
  const sizes = new Set<number>();
  for (let parts = 1; parts <= batchSize; parts++) {
    const size = Math.ceil(batchSize / parts);
    sizes.add(parts === 1 || size <= 16 ? size : Math.ceil(size / 8) * 8);
  }
  return [...sizes];
}

/** The fastest split whose estimate is within `bytes`; else the one that takes least, which is said by `fits`. */
export function chooseSplit(
  splits: readonly StepSplit[],
  peak: (split: StepSplit) => number,
  bytes: number,
): { split: StepSplit; fits: boolean } {
  const fitting = splits.find((split) => peak(split) <= bytes);
  if (fitting !== undefined) return { split: fitting, fits: true };
  const least = splits.reduce((best, split) => (peak(split) < peak(best) ? split : best));
  return { split: least, fits: false };
}

const entrySchema = z.strictObject({
  /** First step that is taken so, counted from 0. */
  from: z.number().int().nonnegative(),
  microBatch: z.number().int().positive(),
  recomputeBlocks: z.boolean(),
});
const fileSchema = z.strictObject({
  splits: z.array(entrySchema),
  /** How many times its estimate a step was seen to take, where that was looked at. */
  factor: z.number().positive().optional(),
  /** Step before which what a step takes is still to be looked at. */
  lookUntil: z.number().int().nonnegative().optional(),
});
type Entry = z.infer<typeof entrySchema>;

type Options = Pick<TrainOptions, "model" | "device" | "precision" | "group" | "run"> & SplitSettings;

export class StepSplits {
  readonly #options: Options;
  readonly #kind: keyof typeof enough;
  readonly #first: boolean;
  /** Images at once, by the texts that attention takes at once, less the one that fills up what is recorded. */
  #most = Infinity;
  /** In the order of their steps. */
  #entries: Entry[] = [];
  #begun = false;
  /** Bytes that a step may take, and how many times its estimate a step was seen to take. */
  #budget = Infinity;
  #factor = 1;
  /** Steps until what they take is looked at; none where nothing can be learnt from it. */
  #looks = 0;
  #lookUntil: number | undefined;
  #memory: StepMemory | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.#first = options.group?.first ?? true;
    this.#kind = options.device === "cpu" ? "processor" : "device";
  }

  /** Whether what the present step takes decides of later ones: nothing that depends on the clock should be done beside it. */
  get looking(): boolean {
    return this.#looks > 0;
  }

  /**
   * Takes a step, in smaller parts where memory does not suffice.
   * @param attempt the step; may be called again after it has failed for want of memory
   * @param touched whether the failed step has changed anything that it can't be taken again from
   * @throws NativeError when the smallest parts that the settings allow are too large
   */
  take<T>(step: number, input: StepInput, attempt: (split: StepSplit) => T, touched: () => boolean): T {
    const { model, device, group } = this.#options;
    if (!this.#begun) this.#begin(step, input);
    for (;;) {
      const entry = this.#entryOf(step);
      const { microBatch, recomputeBlocks } = entry;
      model.recomputesBlocks = recomputeBlocks;
      const random = randomState(device);
      try {
        return this.#looks > 0 ? this.#watched(step, input, entry, attempt) : attempt({ microBatch, recomputeBlocks });
      } catch (error) {
        if (!isOutOfMemory(error)) throw error;
        // Other processes wait for this one within the step: there is no going back for all of them.
        const smaller = touched() || group !== undefined ? undefined : this.#smaller(input, entry);
        if (smaller === undefined) throw tooLarge(error as NativeError, entry, group !== undefined);
        model.zeroGrad();
        setRandomState(random, device);
        releaseMemory(device);
        log.warn(
          `Memory did not suffice for ${inWords(entry, input.batchSize)}: step ${step + 1} is taken again with ${inWords(smaller, input.batchSize)}.`,
        );
        this.#replace(step, smaller, { reason: "out of memory" });
      } finally {
        random.dispose();
      }
    }
  }

  /** What the run began with, or what fits now. */
  #begin(step: number, input: StepInput): void {
    const { group, device, model, precision } = this.#options;
    this.#begun = true;
    this.#most = this.#kind === "processor" ? Infinity : Math.floor((mostAttentionRows - 1) / (input.textsPerImage ?? 1));
    const { microBatch = "auto", recomputeBlocks = "auto" } = this.#options;
    /** Where memory is no matter. */
    const plain = {
      microBatch: microBatch === "auto" ? input.batchSize : Math.min(microBatch, input.batchSize),
      recomputeBlocks: recomputeBlocks === true,
    };
    if (microBatch !== "auto" && recomputeBlocks !== "auto") {
      this.#entries = [{ from: 0, ...plain }];
      if (!this.#first) return;
      const before = readSplits(this.#options.run.splits).splits.findLast(({ from }) => from <= step);
      // So that a run which is gone on with otherwise can say so.
      if (before === undefined && (plain.recomputeBlocks || plain.microBatch < input.batchSize)) this.#remember();
      if (before === undefined || same(before, plain)) return;
      log.warn(asAsked(inWords(before, input.batchSize), inWords(plain, input.batchSize)));
      this.#replace(step, plain, { reason: "asked" });
      return;
    }
    this.#memory = new StepMemory({ model, device, precision });
    this.#budget = memoryForSteps(this.#options, input);
    const sizes = this.#sizes(input);
    const peak = (split: StepSplit): number => this.#factor * this.#memory!.peak(sizes, split);
    if (this.#first) this.#settle(step, input.batchSize, plain, peak);
    if (group !== undefined) this.#entries = group.valueOfFirst(this.#entries);
  }

  /** Goes on with what the run had before, or chooses, and says which. @param plain the split where memory is no matter */
  #settle(step: number, batchSize: number, plain: StepSplit, peak: (split: StepSplit) => number): void {
    const { group, run } = this.#options;
    const words = (split: StepSplit): string => inWords(split, batchSize);
    const there = formatBytes(this.#budget);
    const remembered = readSplits(run.splits);
    this.#entries = remembered.splits;
    this.#factor = remembered.factor ?? 1;
    const { split, fits } = chooseSplit(possibleSplits(batchSize, this.#options, this.#kind, this.#most), peak, this.#budget);
    const before = this.#entries.findLast(({ from }) => from <= step) ?? (step > 0 ? { from: 0, ...plain } : undefined);
    if (!fits) log.warn(`Even ${words(split)} may take ${formatBytes(peak(split))}, and there are ${there} of memory for a step.`);
    if (before !== undefined && this.#allows(before) && (peak(before) <= this.#budget || same(before, split))) {
      if (this.#entries.length === 0) this.#entries = [before];
      // What the second step took was not seen yet: an interruption must not decide what comes of it.
      else if (group === undefined && remembered.lookUntil !== undefined) this.#lookFrom(step, remembered.lookUntil);
      if (!same(before, plain)) log.info(`Steps have ${words(before)}, as before.`);
      return;
    }
    const asked = this.#options.microBatch === "auto" || this.#options.recomputeBlocks === "auto";
    if (before !== undefined && !this.#allows(before)) {
      log.warn(asAsked(words(before), words(split)));
    } else if (before !== undefined) {
      log.warn(
        `The run had ${words(before)} until here, which would take ${formatBytes(peak(before))}, and there are ${there}: it goes on with ` +
          `${words(split)}. Its weights will round otherwise than they would have.`,
      );
    } else if (!same(split, plain)) {
      log.info(
        (peak(plain) > this.#budget
          ? `Steps with ${words(plain)} would take ${formatBytes(peak(plain))} of memory, and there are ${there}`
          : `A GPU takes at most ${mostAttentionRows} texts at once`) + `: they have ${words(split)}, some ${formatBytes(peak(split))}.`,
      );
      if (group === undefined) this.#lookFrom(step, step + looks);
    } else if (asked) {
      if (fits) log.info(`Steps take some ${formatBytes(peak(split))} of memory, and there are ${there}: they have ${words(split)}.`);
    } else {
      this.#entries = [{ from: step, ...split }];
      return;
    }
    this.#replace(step, split, { reason: "memory", estimate: peak(split), memory: this.#budget });
  }

  /** Whether the recipe's own words allow it. */
  #allows(split: StepSplit): boolean {
    const { microBatch = "auto", recomputeBlocks = "auto" } = this.#options;
    return (
      (microBatch === "auto" || microBatch === split.microBatch) &&
      (recomputeBlocks === "auto" || recomputeBlocks === split.recomputeBlocks)
    );
  }

  /** Takes a step and looks at what it takes: behind the second, a faster way may turn out to fit. */
  #watched<T>(step: number, input: StepInput, entry: Entry, attempt: (split: StepSplit) => T): T {
    const { device } = this.#options;
    const before = deviceMemory(device);
    resetPeakMemory(device);
    const { result, peak } = measureMemory(() => attempt(entry));
    if (--this.#looks > 0) return result;
    this.#lookUntil = undefined;
    const seen = before === undefined ? peak : deviceMemory(device)!.peak - before.allocated;
    const sizes = this.#sizes(input);
    const estimate = (split: StepSplit): number => this.#memory!.peak(sizes, split);
    this.#factor = seen / estimate(entry);
    const splits = possibleSplits(input.batchSize, this.#options, this.#kind, this.#most);
    const { split, fits } = chooseSplit(splits, (one) => this.#factor * estimate(one), this.#budget);
    const faster = fits && cost(split, input.batchSize, this.#kind) < 0.97 * cost(entry, input.batchSize, this.#kind);
    // A device says when its memory is full; a machine ends the process.
    const tooMuch = this.#kind === "processor" && seen > this.#budget && estimate(split) < estimate(entry);
    if (faster || tooMuch) {
      log.info(
        `Steps take ${formatBytes(seen)} of ${formatBytes(this.#budget)}: from step ${step + 2} on they have ${inWords(split, input.batchSize)}.`,
      );
      this.#replace(step + 1, split, { reason: "measured", seen, memory: this.#budget });
    } else this.#remember();
    return result;
  }

  /** The fastest split that takes clearly less than one that was too much. */
  #smaller(input: StepInput, failed: StepSplit): StepSplit | undefined {
    if (this.#memory === undefined) return undefined;
    const sizes = this.#sizes(input);
    const peak = (split: StepSplit): number => this.#factor * this.#memory!.peak(sizes, split);
    this.#budget = Math.min(this.#budget, 0.8 * peak(failed));
    const { split } = chooseSplit(possibleSplits(input.batchSize, this.#options, this.#kind, this.#most), peak, this.#budget);
    this.#looks = 0;
    this.#lookUntil = undefined;
    return peak(split) < 0.98 * peak(failed) ? split : undefined;
  }

  #lookFrom(step: number, until: number): void {
    this.#looks = Math.max(0, until - step);
    this.#lookUntil = until;
  }

  #sizes(input: StepInput): StepSizes {
    return sizesOf(input, this.#options.group?.ranks);
  }

  #entryOf(step: number): Entry {
    return this.#entries.findLast(({ from }) => from <= step) ?? this.#entries[0]!;
  }

  /** From a step on, steps are split otherwise; what had been said of later ones is void. */
  #replace(from: number, split: StepSplit, why: Record<string, string | number>): void {
    const { run } = this.#options;
    this.#entries = [...this.#entries.filter((entry) => entry.from < from), { from, ...split }];
    if (!this.#first) return;
    run.record("split", from, { ...split, ...why });
    this.#remember();
  }

  #remember(): void {
    const { run } = this.#options;
    try {
      writeFileAtomic(
        run.splits,
        `${JSON.stringify({ splits: this.#entries, ...(this.#factor === 1 ? {} : { factor: this.#factor }), lookUntil: this.#lookUntil }, null, 2)}\n`,
      );
    } catch (error) {
      const explained = explainWriteFailure(error, run.splits);
      if (!LaclipError.is(explained)) throw error;
      log.warn(`${explained.message} How steps are split is not remembered.`);
    }
  }
}

function readSplits(path: string): z.infer<typeof fileSchema> {
  if (!existsSync(path)) return { splits: [] };
  const parsed = fileSchema.safeParse(readJson(path, "list of splits"));
  if (!parsed.success)
    throw new ModelFormatError(`${path}: not a list of splits.\n${z.prettifyError(parsed.error)}`, {
      mend: "Remove it: steps are then split anew.",
    });
  return parsed.data;
}

/** Bytes that a step may take now, where weights and moments, and the first batch, are there already: the least of all processes. */
export function memoryForSteps(
  { device, model, group }: Pick<Options, "device" | "model" | "group">,
  { images, views }: StepInput,
): number {
  const batch = images.length + (views?.length ?? 0);
  const memory = deviceMemory(device);
  if (memory !== undefined) {
    // The next batch is brought while a step is computed; what the allocator holds for nobody is there for the step.
    return Math.min(...ofAll(usable.device * (memory.free + memory.reserved - memory.allocated - batch), group));
  }
  const parameters = model.parameters().reduce((sum, { size }) => sum + 4 * size, 0);
  const machine = Number.parseInt(sha256(hostname()).slice(0, 10), 16);
  const sharing = ofAll(machine, group).filter((other) => other === machine).length;
  // Batches that the loader makes ahead, and a checkpoint's copies of weights and moments.
  return Math.min(...ofAll(usable.processor * (availableMemory() / sharing - 3 * batch - 3 * parameters), group));
}

/** The number of each process, in the order of ranks. */
function ofAll(own: number, group: Options["group"]): number[] {
  if (group === undefined) return [own];
  return group.means(Array.from({ length: group.ranks }, (_, rank) => (rank === group.rank ? own * group.ranks : 0)));
}

function same(a: StepSplit, b: StepSplit): boolean {
  return a.microBatch === b.microBatch && a.recomputeBlocks === b.recomputeBlocks;
}

function inWords({ microBatch, recomputeBlocks }: StepSplit, batchSize: number): string {
  const parts = microBatch >= batchSize ? `whole batches of ${batchSize}` : `micro-batches of ${microBatch}`;
  return recomputeBlocks ? `${parts}, blocks computed again` : parts;
}

function asAsked(before: string, now: string): string {
  return `The run had ${before} until here, and goes on with ${now}, as was asked. Its weights will round otherwise than they would have.`;
}

function tooLarge(error: NativeError, split: StepSplit, shared: boolean): NativeError {
  const mend = shared
    ? "Processes that train together can't take a step again in smaller parts: --set training.microBatch=... smaller, or --set training.recomputeBlocks=true."
    : "Have the split chosen (--set training.microBatch=auto --set training.recomputeBlocks=auto), or take a smaller batch, model or image size.";
  return new NativeError(
    `${error.message} (micro-batches of ${split.microBatch}${split.recomputeBlocks ? ", blocks computed again" : ""})`,
    { mend, cause: error },
  );
}
