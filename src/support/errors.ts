/**
 * One family of errors for everything a person may have to mend.
 *
 * A message says what was wrong in which input, what was expected and what came; `mend` says what to do about it.
 * The class says who must act, and thereby the exit code of the command line.
 */

const marker = Symbol.for("laclip.error");

/** Exit codes of the command line. `restart` means: everything is saved, start the same command again. */
export const exitCodes = { done: 0, failure: 1, usage: 2, data: 3, endpoint: 4, diverged: 5, restart: 75 } as const;

/** What an error has beside its message. */
export interface ErrorOptions {
  /** What the reader can do about it: one or two sentences, with the command to run where there is one. */
  mend?: string;
  cause?: unknown;
}

/** Base of all expected failures; anything else that is thrown is a defect of the program. */
export class LaclipError extends Error {
  readonly [marker] = true;
  /** Exit code of a command that fails with this error. */
  readonly exitCode: number = exitCodes.failure;
  readonly mend: string | undefined;

  constructor(message: string, { mend, cause }: ErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.mend = mend;
  }

  /** True for errors of this family, also when they come from a second copy of the package. */
  static is(error: unknown): error is LaclipError {
    return typeof error === "object" && error !== null && marker in error;
  }
}

/** A wrong flag, argument or setting: the person at the keyboard must act. */
export class UsageError extends LaclipError {
  override readonly exitCode = exitCodes.usage;
}

/** Something is wrong with captions, images, rewrites or another input file. */
export class DataError extends LaclipError {
  override readonly exitCode = exitCodes.data;
}

/** A model, checkpoint or weights file is damaged or of another kind than asked for. */
export class ModelFormatError extends LaclipError {
  override readonly exitCode = exitCodes.data;
}

/** The tensor library or its addon is missing, or refused an operation. */
export class NativeError extends LaclipError {
  override readonly exitCode = exitCodes.failure;
}

/** A server that was asked for an answer can't be reached, refuses, or answers nonsense. */
export class EndpointError extends LaclipError {
  override readonly exitCode = exitCodes.endpoint;
}

/** Training produced numbers that are not finite and could not be saved. */
export class DivergedError extends LaclipError {
  override readonly exitCode = exitCodes.diverged;
}

/** Work was interrupted, everything done so far is saved, and the same command goes on from there. */
export class InterruptedError extends LaclipError {
  override readonly exitCode = exitCodes.restart;
}

/** Throws when a fact about our own code does not hold; never used to check a person's input. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`internal: ${message}`);
}

/** `known` sorted by likeness to `name`, the first few only: for "did you mean" in messages. */
export function nearest(name: string, known: Iterable<string>, count = 3): string[] {
  return [...known]
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(previous[j]! + 1, current[j - 1]! + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length]!;
}
