/** Records some steps of a run and writes where their time went into its folder. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { explainWriteFailure, log, writeFileAtomic } from "../support/index.ts";
import { type Profile, deviceName, startProfile, worksAside } from "../torch/index.ts";
import { chromeTrace, profileTables, summarizeProfile } from "./profile-summary.ts";

/** The first steps of a start compile kernels, fill the memory's pools and wait for the loader. */
const unlikeOthers = 5;

/**
 * `profile/steps-6-10.md` has tables (`profileTables`), `profile/steps-6-10.json.gz` operators and kernels one by one for a viewer (`chromeTrace`).
 * Recording takes time of its own, so that a recorded step is somewhat slower than others.
 */
export class StepProfiler {
  readonly #run: string;
  readonly #wanted: number;
  readonly #device: string;
  #started: number | undefined;
  #first = 0;
  #steps = 0;
  #waiting = 0;
  #end: (() => Profile) | undefined;
  #done = false;

  /** @param options.run the run's folder @param options.steps how many @param options.device where the steps compute */
  constructor({ run, steps, device }: { run: string; steps: number; device: string }) {
    this.#run = run;
    this.#wanted = steps;
    this.#device = device;
  }

  /** Before a step asks for its batch. @param step steps finished */
  begins(step: number): void {
    this.#started ??= step;
    if (this.#done || this.#end !== undefined || step < this.#started + unlikeOthers) return;
    this.#first = step + 1;
    this.#end = startProfile(this.#device);
  }

  /** After a step. @param step its number @param waited seconds for its batch */
  ends(step: number, waited: number): void {
    if (this.#end === undefined) return;
    this.#steps++;
    this.#waiting += waited;
    if (step - this.#first + 1 >= this.#wanted) this.#write();
  }

  /** With the run; writes what there is. */
  close(): void {
    if (this.#end !== undefined && this.#steps > 0) this.#write();
    this.#end?.();
    if (!this.#done) log.warn(`No step was recorded: that begins after ${unlikeOthers} steps, since the first are unlike the others.`);
    this.#done = true;
  }

  #write(): void {
    const profile = this.#end!();
    this.#end = undefined;
    this.#done = true;
    const summary = summarizeProfile(profile, this.#steps, this.#waiting);
    const device = deviceName(this.#device) ?? this.#device;
    if (worksAside(this.#device) && summary.of === "processor") {
      log.warn(`What ${device} did could not be seen, so the profile is of the processor: CUDA's profiling library (CUPTI) gave nothing.`);
    }
    const folder = join(this.#run, "profile");
    const name = `steps-${this.#first}-${this.#first + this.#steps - 1}`;
    try {
      mkdirSync(folder, { recursive: true });
      writeFileAtomic(join(folder, `${name}.json.gz`), gzipSync(chromeTrace(profile)));
      writeFileAtomic(
        join(folder, `${name}.md`),
        `# Steps ${this.#first} to ${this.#first + this.#steps - 1} on ${device}\n\n${profileTables(summary)}`,
      );
    } catch (error) {
      // A run does not end for this.
      log.warn(`The profile can't be written: ${String(explainWriteFailure(error, folder))}`);
      return;
    }
    const most = summary.kinds.slice(0, 3).map(({ name: kind, seconds }) => `${kind} ${((100 * seconds) / summary.seconds).toFixed(0)} %`);
    log.info(
      `${(1000 * summary.seconds).toFixed(1)} ms a step: ${most.join(", ")}. ${join(folder, name)}.md says more; ui.perfetto.dev shows the .json.gz.`,
    );
  }
}
