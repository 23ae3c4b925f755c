/**
 * Steps that a run passes over, with their data: what it was told to leave out, and what led to numbers that are not finite.
 *
 * After a roll-back the run goes on with the weights of step `from` and the data of step `to`. The ranges are kept in the run folder, so
 * that a resumed run passes over the same; a new run that is told the same ranges ends with the same weights.
 */
import { existsSync } from "node:fs";
import { z } from "zod";
import { ModelFormatError, readJson, writeFileAtomic } from "../support/index.ts";

const rangeSchema = z.strictObject({
  /** First step that is passed over, counted from 0. */
  from: z.number().int().nonnegative(),
  /** The step after the last. */
  to: z.number().int().positive(),
  reason: z.string(),
});
const fileSchema = z.strictObject({ skipped: z.array(rangeSchema) });

/** Ranges that roll-backs have led to, as the run folder keeps them. */
export type RecordedRanges = z.infer<typeof rangeSchema>[];

export interface SkippedRange {
  from: number;
  to: number;
}

export class SkippedSteps {
  readonly #path: string | undefined;
  readonly #given: readonly SkippedRange[];
  #recorded: RecordedRanges;

  /**
   * @param path where roll-backs are recorded; read when it is there. Undefined for a process that is told of them: see `follow`
   * @param given ranges that the run was told to leave out
   * @throws ModelFormatError when the file is none of ours
   */
  constructor(path: string | undefined, given: readonly SkippedRange[] = []) {
    this.#path = path;
    this.#given = given;
    const stored = path !== undefined && existsSync(path) ? readJson(path, "list of skipped steps") : { skipped: [] };
    const parsed = fileSchema.safeParse(stored);
    if (!parsed.success) throw new ModelFormatError(`${path}: not a list of skipped steps.\n${z.prettifyError(parsed.error)}`);
    this.#recorded = parsed.data.skipped;
  }

  /** Roll-backs so far. */
  get rollbacks(): number {
    return this.#recorded.length;
  }

  /** The step to go on with when `step` would be next; `step` itself when it is not passed over. */
  next(step: number): number {
    const over = this.#all().filter(({ from, to }) => from <= step && step < to);
    return over.length === 0 ? step : this.next(Math.max(...over.map(({ to }) => to)));
  }

  /** True when a checkpoint after `steps` steps lies within what a roll-back has taken back. */
  takesBack(steps: number): boolean {
    return this.#recorded.some(({ from, to }) => from < steps && steps < to);
  }

  /** What roll-backs have led to. */
  get recorded(): RecordedRanges {
    return structuredClone(this.#recorded);
  }

  /** Goes by what another process has recorded. */
  follow(recorded: RecordedRanges): void {
    this.#recorded = structuredClone(recorded);
  }

  /** Records a roll-back; on disk when it returns. */
  add(range: SkippedRange & { reason: string }): void {
    this.#recorded.push(range);
    if (this.#path === undefined) return;
    writeFileAtomic(this.#path, `${JSON.stringify({ skipped: this.#recorded }, null, 2)}\n`);
  }

  #all(): SkippedRange[] {
    return [...this.#given, ...this.#recorded];
  }
}
