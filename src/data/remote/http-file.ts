/**
 * A file on a web server (RFC 9110): GET, and GET with a Range when a connection has broken.
 *
 * `If-Range` has the server send the rest only of the file that was begun, and otherwise the whole new one, which its ETag or date gives
 * away. A server that knows no ranges sends everything again; what had come by then is skipped. Packing on the way is refused,
 * since the places of the bytes would be others.
 */
import { Readable } from "node:stream";
import type { Dispatcher, request } from "undici";
import { DataError, EndpointError } from "../../support/index.ts";
import { shownAddress } from "./address.ts";
import { PassingFailure, retryAfter } from "./patience.ts";
import type { Connection, ConnectionRequest, RemoteFile } from "./resumed-bytes.ts";

const mostRedirects = 5;
const passing: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

const unreadable =
  "Check that you may read it. A signed address may have expired; a name and a password are written https://NAME:PASSWORD@HOST/...";

let agent: ReturnType<typeof openAgent> | undefined;
/** Loaded with the first file that is asked for: undici takes 50 ms in every thread that loads it, and most data lie on a disk. */
async function openAgent(): Promise<{ ask: typeof request; dispatcher: Dispatcher }> {
  const undici = await import("undici");
  // Stalls are noticed by whoever reads: undici's own clocks would also run while the reader is busy.
  return { ask: undici.request, dispatcher: new undici.EnvHttpProxyAgent({ headersTimeout: 0, bodyTimeout: 0 }) };
}

export class HttpFile implements RemoteFile {
  readonly shown: string;
  readonly #url: URL;
  readonly #authorization: string | undefined;

  /**
   * @param address `http://` or `https://`; a user and a password in it are sent as Basic authorization, to that server only
   * @throws TypeError when it can't be read as an address
   */
  constructor(address: string) {
    this.shown = shownAddress(address);
    const url = new URL(address);
    if (url.username !== "" || url.password !== "") {
      const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
      this.#authorization = `Basic ${Buffer.from(pair).toString("base64")}`;
      [url.username, url.password] = ["", ""];
    }
    this.#url = url;
  }

  async connect({ from, to, version, signal }: ConnectionRequest): Promise<Connection> {
    const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "laclip" };
    if (from > 0 || to !== undefined) {
      headers["range"] = `bytes=${from}-${to === undefined ? "" : to - 1}`;
      // A weak ETag says "much the same", which is not enough for half of a file.
      if (version !== undefined && !version.startsWith("W/")) headers["if-range"] = version;
    }
    const answer = await this.#follow(headers, signal);
    try {
      return this.#check(answer, from);
    } catch (error) {
      answer.body.on("error", () => undefined).destroy();
      throw error;
    }
  }

  async #follow(headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    // One agent for all files, so that their connections are used again. The usual proxy variables are heeded.
    const { ask, dispatcher } = await (agent ??= openAgent());
    let url = this.#url;
    for (let redirects = 0; ; redirects++) {
      const authorization = url.origin === this.#url.origin && this.#authorization ? { authorization: this.#authorization } : {};
      const answer = await ask(url, { dispatcher, headers: { ...headers, ...authorization }, signal });
      if (![301, 302, 303, 307, 308].includes(answer.statusCode)) return answer;
      answer.body.on("error", () => undefined).destroy();
      const location = first(answer.headers["location"]);
      if (location === undefined || !URL.canParse(location, url.href))
        throw this.#refused("the server sends elsewhere without saying where");
      const next = new URL(location, url);
      const shown = shownAddress(next.href);
      if (redirects === mostRedirects)
        throw this.#refused(`the server sends elsewhere more than ${mostRedirects} times, at last to ${shown}`);
      if (next.protocol !== "https:" && (url.protocol === "https:" || next.protocol !== "http:"))
        throw this.#refused(`the server sends to ${shown}, which is not as safe as the address it was asked under`);
      url = next;
    }
  }

  #check({ statusCode: status, headers, body }: Dispatcher.ResponseData, from: number): Connection {
    const version = first(headers["etag"]) ?? first(headers["last-modified"]);
    if (status === 416) {
      const size = /^bytes \*\/(\d+)$/.exec(first(headers["content-range"]) ?? "")?.[1];
      body.on("error", () => undefined).destroy();
      // All was there already, only the end of the answer was missing.
      if (size !== undefined && Number(size) === from) return { start: from, size: from, version, body: Readable.from([]) };
      throw new DataError(`${this.shown}: byte ${from} was asked for, the file has ${size ?? "fewer"} bytes.`, {
        mend: "It may have changed; start again.",
      });
    }
    if (status !== 200 && status !== 206) throw this.#explain(status, headers);
    const encoding = first(headers["content-encoding"])?.toLowerCase() ?? "identity";
    // Some servers call a file that is packed an encoding of one that isn't; its bytes are the same.
    if (encoding !== "identity" && !(/^(x-)?gzip$/.test(encoding) && /\.t?gz$/i.test(this.shown)))
      throw this.#refused(`asked for the file as it is, the server packs it on the way (Content-Encoding: ${encoding})`);
    if (/^text\/html\b/i.test(first(headers["content-type"]) ?? "") && !/\.html?$/i.test(this.shown)) {
      throw new EndpointError(`${this.shown}: expected a file, the server sent a web page.`, {
        mend: "Open the address in a browser: it may ask to sign in, or have expired.",
      });
    }
    if (status === 200) {
      const length = first(headers["content-length"]);
      return { start: 0, size: length === undefined ? undefined : Number(length), version, body };
    }
    const range = first(headers["content-range"]) ?? "";
    const found = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(range);
    if (!found || Number(found[1]) !== from || Number(found[2]) < from)
      throw this.#refused(`asked for bytes from ${from} on, the server sent others (Content-Range: ${range || "none"})`);
    return { start: from, size: found[3] === "*" ? undefined : Number(found[3]), version, body };
  }

  #explain(status: number, headers: Dispatcher.ResponseData["headers"]): Error {
    if (passing.has(status)) return new PassingFailure(`the server answered ${status}`, retryAfter(headers["retry-after"]));
    if (status === 404 || status === 410) return new DataError(`${this.shown}: no such file; the server answered ${status}.`);
    const closed = status === 401 || status === 403;
    return new EndpointError(`${this.shown}: the server answered ${status}.`, closed ? { mend: unreadable } : {});
  }

  #refused(what: string): EndpointError {
    return new EndpointError(`${this.shown}: ${what}.`);
  }
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
