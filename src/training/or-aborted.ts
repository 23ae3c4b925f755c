/** Waiting that an interruption ends at once. */

/** What `promise` resolves to; or "aborted" as soon as the signal is. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T | "aborted"> {
  if (signal === undefined) return await promise;
  let listener: () => void;
  const aborted = new Promise<"aborted">((resolve) => signal.addEventListener("abort", (listener = () => resolve("aborted"))));
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", listener!);
    promise.catch(() => {}); // nobody waits for it any more when the signal came first
  }
}
