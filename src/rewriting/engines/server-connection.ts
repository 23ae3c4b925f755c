/**
 * The connections to one server: a request goes out, an answer comes in, within a limit of time and of bytes.
 *
 * undici's dispatch is used as it is, without its streams, and one timer looks after all open requests: thousands of small requests
 * a second would else spend more on streams, timers and listeners than on their texts.
 */
import { Pool } from "undici";
import type { Dispatcher } from "undici";
import { LateError, PassingError } from "./server-answers.ts";
import type { HttpAnswer } from "./server-answers.ts";

export interface ServerConnectionOptions {
  /** Address of the API without a slash at its end. */
  url: string;
  /** Most connections. */
  connections: number;
  /** Seconds until an answer must be there, whole. */
  timeoutSeconds: number;
  headers: Readonly<Record<string, string>>;
  /** Largest answer. Default one megabyte: a rewrite takes a thousandth of that. */
  mostBytes?: number;
}

interface Open {
  readonly deadline: number;
  readonly seconds: number;
  fail(error: PassingError): void;
}

/** Sends requests to one server. */
export class ServerConnection {
  readonly url: string;
  readonly #options: Required<ServerConnectionOptions>;
  readonly #pool: Pool;
  readonly #path: string;
  readonly #open = new Set<Open>();
  #watch: NodeJS.Timeout | undefined;

  constructor(options: ServerConnectionOptions) {
    this.#options = { mostBytes: 1 << 20, ...options };
    this.url = options.url;
    const { origin, pathname } = new URL(options.url);
    this.#path = pathname.replace(/\/+$/, "");
    this.#pool = new Pool(origin, {
      connections: options.connections,
      connectTimeout: Math.min(10_000, options.timeoutSeconds * 1000),
      // These count from byte to byte; a server that drips would never meet them.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /**
   * Asks, and waits for the whole answer.
   * @param path begins with a slash
   * @param timeoutSeconds default: that of the server
   * @throws PassingError when none came
   */
  async ask(method: "GET" | "POST", path: string, body?: string, timeoutSeconds = this.#options.timeoutSeconds): Promise<HttpAnswer> {
    return await new Promise<HttpAnswer>((resolve, reject) => {
      const { headers, mostBytes } = this.#options;
      let controller: Dispatcher.DispatchController | undefined;
      let settled = false;
      const open: Open = {
        deadline: performance.now() + timeoutSeconds * 1000,
        seconds: timeoutSeconds,
        fail: (error) => {
          if (!settle()) return;
          controller?.abort(error);
          reject(error);
        },
      };
      const settle = (): boolean => {
        if (settled) return false;
        settled = true;
        this.#open.delete(open);
        return true;
      };
      this.#open.add(open);
      this.#watch ??= setInterval(() => this.#expire(), Math.max(5, Math.min(1000, timeoutSeconds * 100)));
      let answer: Omit<HttpAnswer, "text"> = { status: 0, headers: {} };
      const chunks: Buffer[] = [];
      let bytes = 0;
      this.#pool.dispatch(
        { path: `${this.#path}${path}`, method, headers, body: body ?? null },
        {
          onRequestStart: (started) => {
            controller = started;
            if (settled) started.abort(new Error("given up before it was sent"));
          },
          onResponseStart: (_, status, received) => void (answer = { status, headers: received }),
          onResponseData: (_, chunk) => {
            bytes += chunk.length;
            if (bytes <= mostBytes) chunks.push(chunk);
            else open.fail(new PassingError("failing", `the answer does not end: more than ${mostBytes} bytes came`));
          },
          onResponseEnd: () => {
            if (settle()) resolve({ ...answer, text: (chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString("utf8") });
          },
          onResponseError: (_, error) => {
            if (settle()) reject(explainNetwork(error, timeoutSeconds));
          },
        },
      );
    });
  }

  /** Gives up all open requests. */
  stop(): void {
    for (const open of this.#open) open.fail(new PassingError("stopped", "stopped"));
  }

  /** Ends everything; whatever is open fails. */
  async close(): Promise<void> {
    clearInterval(this.#watch);
    this.stop();
    await this.#pool.destroy();
  }

  #expire(): void {
    const now = performance.now();
    for (const open of this.#open) if (now >= open.deadline) open.fail(new LateError(open.seconds));
    if (this.#open.size > 0) return;
    clearInterval(this.#watch);
    this.#watch = undefined;
  }
}

/** Errors of a connection that was never made, by their code; nothing was sent. */
const neverConnected: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (connection refused)",
  ENOTFOUND: "there is no machine of that name (or no network)",
  EAI_AGAIN: "there is no machine of that name (or no network)",
  EHOSTUNREACH: "the machine can't be reached",
  ENETUNREACH: "the network can't be reached",
  UND_ERR_CONNECT_TIMEOUT: "the machine does not take connections",
};

function explainNetwork(error: unknown, timeoutSeconds: number): PassingError {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const unreachable = Object.hasOwn(neverConnected, code) ? neverConnected[code] : undefined;
  if (unreachable !== undefined) return new PassingError("unreachable", unreachable, undefined, error);
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") return new LateError(timeoutSeconds, error);
  return new PassingError("failing", `${code ? `${code}: ` : ""}${message}`, undefined, error);
}
