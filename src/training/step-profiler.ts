/** Records some steps of a run and writes where their time went into its folder. */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { explainWriteFailure, log, makeFolder, percent, writeFileAtomic } from "../support/index.ts";
import { type Profile, deviceName, startProfile, worksAside } from "../torch/index.ts";
import { chromeTrace, profileTables, summarizeProfile } from "./profile-summary.ts";

/** The first steps of a start compile kernels, fill the memory's pools and wait for the loader. */
const unlikeOthers = 5;

export interface StepProfilerOptions {
  /** The run's folder. */
  run: string;
  /** How many are recorded. */
  steps: number;
  /** Where they compute. */
  device: string;
  /** Of the whole run. */
  totalSteps: number;
  /** After every so many steps something else comes in between: a checkpoint, an evaluation. */
  periods: readonly number[];
  /** Begins a profile. Default `startProfile`. */
  start?: (device: string) => () => Profile;
}

/**
 * `profile/steps-6-10.md` has tables (`profileTables`), `profile/steps-6-10.json.gz` operators and kernels one by one for a viewer (`chromeTrace`).
 * Recording takes time of its own, so that a recorded step is somewhat slower than others. A run does not end for what goes wrong here.
 */
export class StepProfiler {
  readonly #options: Required<StepProfilerOptions>;
  /** Steps of this start. */
  #taken = 0;
  /** Numbers of the steps that were recorded. */
  readonly #recorded: number[] = [];
  #waiting = 0;
  #end: (() => Profile) | undefined;
  #done = false;

  constructor(options: StepProfilerOptions) {
    this.#options = { start: startProfile, ...options };
  }

  /**
   * Before a step asks for its batch. A recording begins where enough steps follow with nothing in between.
   * @param step steps finished
   * @returns whether one began, which takes time of its own
   */
  begins(step: number): boolean {
    if (this.#done || this.#end !== undefined || this.#taken < unlikeOthers) return false;
    const { steps, totalSteps, periods } = this.#options;
    const undisturbed = Math.min(...periods.map((period) => period - (step % period)));
    const wanted = Math.min(steps, ...periods);
    if (undisturbed < wanted && step + wanted < totalSteps) return false;
    this.#guard(() => (this.#end = this.#options.start(this.#options.device)));
    return true;
  }

  /** After a step. @param step its number @param waited seconds for its batch */
  ends(step: number, waited: number): void {
    this.#taken++;
    if (this.#end === undefined) return;
    this.#recorded.push(step);
    this.#waiting += waited;
    if (this.#recorded.length >= this.#options.steps) this.breakOff();
  }

  /** Before anything that is no step, such as a checkpoint: what was recorded until now is written, and that is all. */
  breakOff(): void {
    const end = this.#end;
    if (end === undefined) return;
    this.#end = undefined;
    this.#guard(() => {
      const profile = end();
      if (this.#recorded.length > 0) this.#write(profile);
    });
    this.#done ||= this.#recorded.length > 0;
  }

  /** At the end of the run, however that came. */
  close(): void {
    this.breakOff();
    if (!this.#done) log.warn(`No step was recorded: that begins after ${unlikeOthers} steps, since the first are unlike the others.`);
    this.#done = true;
  }

  /** What does not work here is said, and not tried again. */
  #guard(body: () => void): void {
    try {
      body();
    } catch (error) {
      this.#done = true;
      log.warn(`No profile: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #write(profile: Profile): void {
    const { run, device: name } = this.#options;
    const summary = summarizeProfile(profile, this.#recorded.length, this.#waiting);
    const device = deviceName(name) ?? name;
    if (worksAside(name) && summary.of === "processor") {
      log.warn(
        `What ${device} did could not be seen, so the profile is of the processor: CUDA's profiling library (CUPTI) has no kernels.`,
      );
    }
    const folder = join(run, "profile");
    const [first, last] = [this.#recorded[0]!, this.#recorded.at(-1)!];
    const file = join(folder, `steps-${first}-${last}`);
    try {
      makeFolder(folder);
      writeFileAtomic(`${file}.json.gz`, gzipSync(chromeTrace(profile)));
      writeFileAtomic(`${file}.md`, `# Steps ${first} to ${last} on ${device}\n\n${profileTables(summary)}`);
    } catch (error) {
      throw explainWriteFailure(error, folder);
    }
    const most = summary.kinds.slice(0, 3).map(({ name: kind, seconds }) => `${kind} ${percent(seconds / summary.seconds, 0)}`);
    const milliseconds = (1000 * summary.seconds).toFixed(1);
    log.info(`${milliseconds} ms a step: ${most.join(", ")}. ${file}.md says more; ui.perfetto.dev shows the .json.gz.`);
  }
}
