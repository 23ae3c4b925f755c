/** Ctrl-C and the scheduler's SIGTERM: the first asks long work to save and stop, the second ends the process at once. */
import { log } from "../support/index.ts";

/** A signal that is aborted at the first SIGINT or SIGTERM. `what` says what happens then ("saving at the edge of the step"). */
export function interruptSignal(what: string): AbortSignal {
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(signal === "SIGINT" ? 130 : 143);
    log.info(`\n${signal}: ${what}. Once more to stop at once.`);
    controller.abort();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  return controller.signal;
}
