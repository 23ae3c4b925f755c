/**
 * How set-up speaks: short lines on standard error, and one kind of error that says what to do.
 */

/**
 * What the steps hand on to each other.
 * @typedef {object} Context
 * @property {string} root folder of the package
 * @property {string} build folder for everything that is made here and is neither npm's nor TypeScript's
 * @property {boolean} verbose shows the output of the programs that are run
 * @property {boolean} wheel uses a PyTorch wheel of our own even where the system has a libtorch
 * @property {NodeJS.ProcessEnv} env
 * @property {import("./find-libtorch.mjs").Libtorch} [libtorch] the libtorch to build against; set by the system step
 */

/**
 * One thing that set-up takes care of.
 * @typedef {object} Step
 * @property {string} name
 * @property {(context: Context) => Promise<string | undefined>} missing why there is something to do; undefined when there is not
 * @property {(context: Context, why: string) => Promise<void>} supply does it, or throws a SetupError
 */

/** Something that set-up can't do by itself: what is wrong, and what the reader can do. */
export class SetupError extends Error {
  /**
   * @param {string} message
   * @param {string} mend
   */
  constructor(message, mend) {
    super(message);
    this.name = "SetupError";
    this.mend = mend;
  }
}

/** One line about what is done and why. @param {string} line */
export function say(line) {
  process.stderr.write(`set-up: ${line}\n`);
}

/** Tells the person what failed; returns the exit code. @param {unknown} error */
export function tell(error) {
  if (error instanceof SetupError) {
    process.stderr.write(`set-up failed: ${error.message}\n${error.mend}\n`);
  } else {
    const system = /** @type {NodeJS.ErrnoException} */ (error);
    if (system?.code === "EACCES" || system?.code === "EROFS" || system?.code === "ENOSPC") {
      process.stderr.write(
        `set-up failed: ${system.message}\nSet-up must be able to write to its folder; free or own it, then run again.\n`,
      );
    } else {
      process.stderr.write(`set-up failed, by a defect of its own:\n${error instanceof Error ? error.stack : String(error)}\n`);
    }
  }
  return 1;
}
