/**
 * How long a server is waited for, and how often it is asked again.
 *
 * What passes (a broken connection, a busy server) is told apart from what stays (no such file, no permission): only the first is tried
 * again. Waits grow, and are drawn at random around their length, so that the ranks of a run don't come back all at once.
 */
import { EndpointError, InterruptedError, LaclipError, log, pause } from "../../support/index.ts";

/** How long to wait for a server, and how often to ask again. */
export interface Patience {
  /** Seconds without a byte after which a connection counts as broken. Default 30. */
  stallSeconds?: number;
  /** How often to try again without a single new byte before it is an error. Default 5. */
  retries?: number;
  /** Seconds before the first of these; each further wait is twice as long. Default 0.5. */
  firstWaitSeconds?: number;
  /** Longest wait between two tries. Where a server asks for more, that is an error. Default 300. */
  longestWaitSeconds?: number;
  /** Gives up with InterruptedError. */
  signal?: AbortSignal;
}

export const usualPatience = { stallSeconds: 30, retries: 5, firstWaitSeconds: 0.5, longestWaitSeconds: 300 } as const;

/** A failure that may be gone at the next try. */
export class PassingFailure extends Error {
  constructor(
    message: string,
    /** Seconds that the server asked to wait. */
    readonly waitSeconds?: number,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** @throws InterruptedError when the work was asked to stop */
export function refuseStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new InterruptedError("Stopped.", { mend: "Start the same command again." });
}

/** Errors behind which there is no answer. */
const unanswered = new WeakSet<Error>();

/** True where a server could not be reached or failed at every try; false where it answered, whatever it said. */
export function isUnanswered(error: EndpointError): boolean {
  return unanswered.has(error);
}

function withoutAnswer(message: string, options: ConstructorParameters<typeof EndpointError>[1]): EndpointError {
  const error = new EndpointError(message, options);
  unanswered.add(error);
  return error;
}

/** Counts failures in a row, and waits after each. */
export class Retries {
  #failures = 0;
  readonly #patience: Required<Omit<Patience, "signal">>;

  constructor(
    readonly shown: string,
    patience: Patience,
  ) {
    this.#patience = { ...usualPatience, ...withoutUndefined(patience) };
  }

  /** Something came: the next failure is the first. */
  progress(): void {
    this.#failures = 0;
  }

  /**
   * Waits for the next try.
   * @param reached what was there by then, in words, for the message
   * @throws the error itself when trying again is of no use; EndpointError after too many tries; InterruptedError when stopped
   */
  async after(failure: unknown, reached: string, signal: AbortSignal | undefined): Promise<void> {
    refuseStopped(signal);
    if (LaclipError.is(failure)) throw failure;
    const { message, waitSeconds, permanent } = explainConnection(failure);
    const { retries, firstWaitSeconds, longestWaitSeconds } = this.#patience;
    if (permanent) {
      throw withoutAnswer(`${this.shown}: ${message}.`, {
        cause: failure,
        mend: message.includes("certificate") ? "Where it is your own, name it in the variable NODE_EXTRA_CA_CERTS." : "Check the address.",
      });
    }
    if (waitSeconds !== undefined && waitSeconds > longestWaitSeconds) {
      throw withoutAnswer(`${this.shown}: ${message}, and the server asks to wait for ${Math.ceil(waitSeconds)} s.`, {
        cause: failure,
        mend: "Start the same command again later.",
      });
    }
    if (this.#failures >= retries) {
      throw withoutAnswer(`${this.shown}: ${message}; ${reached}, and ${retries} more tries brought nothing.`, {
        cause: failure,
        mend: "Start the same command again when the server answers.",
      });
    }
    const grown = Math.min(longestWaitSeconds, firstWaitSeconds * 2 ** this.#failures++) * (0.5 + Math.random());
    const wait = Math.max(waitSeconds ?? 0, grown);
    log.debug(`${this.shown}: ${message}; ${reached}. Trying again in ${wait.toFixed(1)} s.`);
    await pause(wait, signal);
    refuseStopped(signal);
  }
}

/** Seconds that a Retry-After header asks for: a number, or a date. */
export function retryAfter(header: string | string[] | undefined): number | undefined {
  const value = (Array.isArray(header) ? header[0] : header)?.trim();
  if (value === undefined) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}

/** Failures that are the same at the next try, by their code. */
const permanentFailures: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no machine of that name (or no network)",
  ERR_INVALID_URL: "this is no address",
  ERR_SSL_WRONG_VERSION_NUMBER: "the server does not speak TLS there",
};
const passingFailures: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (connection refused)",
  ECONNRESET: "the connection was broken off",
  EPIPE: "the connection was broken off",
  UND_ERR_SOCKET: "the connection was broken off",
  ETIMEDOUT: "the machine does not answer",
  EHOSTUNREACH: "the machine can't be reached",
  ENETUNREACH: "the network can't be reached",
  EAI_AGAIN: "the name of the machine can't be looked up at present",
  UND_ERR_CONNECT_TIMEOUT: "the machine does not take connections",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "the connection ended early",
};

function explainConnection(error: unknown): { message: string; waitSeconds?: number | undefined; permanent: boolean } {
  if (error instanceof PassingFailure) return { message: error.message, waitSeconds: error.waitSeconds, permanent: false };
  const { code = "", message, cause } = error as NodeJS.ErrnoException;
  const causeCode = (cause as NodeJS.ErrnoException | undefined)?.code ?? "";
  const known = [code, causeCode].find((candidate) => candidate in permanentFailures);
  if (known !== undefined) return { message: permanentFailures[known]!, permanent: true };
  // Certificates: the names are OpenSSL's.
  if (/CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET)/.test(code) || code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return { message: `the server's certificate is not trusted (${code})`, permanent: true };
  return { message: passingFailures[code] ?? passingFailures[causeCode] ?? `the connection failed (${code || message})`, permanent: false };
}

function withoutUndefined(patience: Patience): Required<Omit<Patience, "signal">> {
  const { signal: _, ...rest } = patience;
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) as Required<Omit<Patience, "signal">>;
}
