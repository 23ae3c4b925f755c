/** What a server's answers mean: which are usable, which are worth asking for again, and which no other request can get past. */
import { EndpointError } from "../../support/index.ts";
import type { ErrorOptions } from "../../support/index.ts";

/** An answer as it came. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/**
 * What kind of trouble a server is in. "unreachable": nothing was sent, it is not there; "busy": it asks for patience; "failing": it
 * was asked and gave no usable answer; "stopped": we did not wait for one.
 */
export type Trouble = "unreachable" | "busy" | "failing" | "stopped";

/** No usable answer this time; the same request may get one later or elsewhere. */
export class PassingError extends Error {
  constructor(
    readonly trouble: Trouble,
    message: string,
    /** Seconds that the server asks us to wait. */
    readonly wait?: number,
    readonly reason?: unknown,
  ) {
    super(message);
  }
}

/** No answer within the time there is: the server hangs, or has more to do than it can. */
export class LateError extends PassingError {
  constructor(seconds: number, reason?: unknown) {
    super("failing", `no answer within ${seconds} s`, undefined, reason);
  }
}

/** What the server has against this one request; others may well be answered. */
export class RefusedRequest extends EndpointError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "EndpointError";
  }
}

/** What no other request can get past: a refused key, an address without an API, servers that stay away. Going on makes no sense. */
export class FinalError extends EndpointError {
  /** The HTTP status, where there was an answer. */
  readonly status: number | undefined;

  constructor(message: string, { status, ...options }: ErrorOptions & { status?: number } = {}) {
    super(message, options);
    this.name = "EndpointError";
    this.status = status;
  }
}

/**
 * The value that an answer carries.
 * @param address what was asked, for messages
 * @throws PassingError where asking again may help
 * @throws RefusedRequest where only this request was refused
 * @throws FinalError where every request would be
 */
export function readAnswer({ status, headers, text }: HttpAnswer, address: string): unknown {
  if (status >= 200 && status < 300) {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new PassingError("failing", `the answer is not JSON: ${serverWords(text)}`, undefined, error);
    }
  }
  const said = serverWords(text);
  const wait = retryAfter(headers["retry-after"]);
  if (status === 429 || (status === 503 && wait !== undefined))
    throw new PassingError("busy", `the server answered ${status}: ${said}`, wait);
  if (status === 408 || status === 409 || status === 425 || status >= 500)
    throw new PassingError("failing", `the server answered ${status}: ${said}`, wait);
  if (status === 400 || status === 413 || status === 422) {
    throw new RefusedRequest(`${address}: the server refused this request with ${status}: ${said}`, {
      mend: "Its words say why. A prompt that is too long needs a server started with a larger context.",
    });
  }
  const mend =
    status === 401 || status === 403
      ? "Put the key into the environment variable LACLIP_API_KEY."
      : status === 404
        ? "Check the address (it mostly ends in /v1) and --model."
        : undefined;
  throw new FinalError(`${address}: the server answered ${status}: ${said}`, { status, ...(mend === undefined ? {} : { mend }) });
}

/** The server's own explanation, wherever it put it, on one line. */
function serverWords(text: string): string {
  let words = text;
  try {
    const value = JSON.parse(text) as { error?: { message?: unknown } | string; message?: unknown; detail?: unknown } | null;
    const found = typeof value?.error === "string" ? value.error : (value?.error?.message ?? value?.message ?? value?.detail);
    if (typeof found === "string") words = found;
  } catch {
    // Not JSON: then the text itself is what it says.
  }
  const line = words.slice(0, 2000).replace(/\s+/g, " ").trim();
  return line === "" ? "(nothing)" : line.slice(0, 300);
}

/** Seconds to wait from a Retry-After header: a number of seconds or a date. At most five minutes. */
function retryAfter(header: string | string[] | undefined): number | undefined {
  const value = Array.isArray(header) ? header[0] : header;
  if (value === undefined) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(300, Math.max(0, seconds)) : undefined;
}
