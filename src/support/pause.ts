/** Waiting that can be cut short. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits for so many seconds, or until `signal` aborts: then it ends early and throws nothing, since whoever waits looks at the signal
 * anyway. It leaves no listener and no timer behind.
 */
export async function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(1000 * seconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
}
