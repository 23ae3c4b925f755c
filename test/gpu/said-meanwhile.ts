import { mock } from "node:test";

/** What this process says on standard error while something is done; nobody else gets to see it. */
export async function saidMeanwhile(work: () => Promise<unknown>): Promise<string> {
  const write = mock.method(process.stderr, "write", () => true);
  try {
    await work();
    return write.mock.calls.map((call) => String(call.arguments[0])).join("");
  } finally {
    write.mock.restore();
  }
}
