/**
 * Several servers of one model, used as one.
 *
 * Requests whose prompts begin alike go to the same server, which then has that beginning evaluated: each server gets a score from a
 * hash of beginning and address, and the highest wins (rendezvous hashing), so that a server that comes or goes moves only its own
 * share. When its window is full, the next in the order is asked. The window of a server shrinks when it asks for patience, answers
 * too late, or is clearly slower than the fastest, and grows again with its answers. One that can't be reached or fails again and again
 * is left out and looked at again after growing pauses; what was asked of it goes elsewhere.
 *
 * While one server lives the work goes on. When none does, or all only ask for patience, it waits for some minutes, and then ends.
 */
import { EndpointError, LaclipError, Random, formatDuration, log, pause } from "../../support/index.ts";
import { PooledServer, hashOf } from "./pooled-server.ts";
import type { PoolMember } from "./pooled-server.ts";
import { FinalError, LateError, PassingError } from "./server-answers.ts";

export interface ServerPoolOptions<Member extends PoolMember> {
  /** Requests under way at once at each server. */
  window: number;
  /** How often a request is sent before it counts as failed. */
  tries: number;
  /** Seconds of the first pause; pauses double. */
  pauseSeconds: number;
  /** Seconds to wait for any server when none answers. */
  patienceSeconds: number;
  /**
   * Looks whether a server is there again.
   * @throws PassingError when not yet, anything else when it is not to be asked again
   */
  look(member: Member): Promise<void>;
}

/** Failures in a row after which a server is left out. */
const failuresInARow = 3;
/** Seconds between two looks at a server that is left out, at most. */
const longestPause = 60;

/** A server that a request is sent to now. */
interface Turn<Member extends PoolMember> {
  readonly server: PooledServer<Member>;
  /** Among what is open there. */
  readonly place: { readonly begun: number };
}

/** Routes requests to servers, tries again elsewhere, and keeps account of who answers. */
export class ServerPool<Member extends PoolMember> {
  readonly #servers: readonly PooledServer<Member>[];
  readonly #options: ServerPoolOptions<Member>;
  readonly #waiting: (() => void)[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #lastGood = performance.now();
  /** Requests that wait for their answers, and since when there has been one without a break. */
  #asking = 0;
  #askingSince = performance.now();
  /** What a server said that last asked for patience. */
  #lastBusy: PassingError | undefined;
  /** Since when no server is in use. */
  #noneSince = performance.now();
  #ended: FinalError | undefined;
  #order: { key: string; servers: readonly PooledServer<Member>[] } | undefined;
  readonly #closing = new AbortController();

  constructor(members: readonly Member[], options: ServerPoolOptions<Member>) {
    this.#options = options;
    this.#servers = members.map((member) => new PooledServer(member, options.window));
  }

  /** Addresses of servers that are asked at present. */
  get inUse(): string[] {
    return this.#servers.filter(({ state }) => state === "in").map(({ member }) => member.url);
  }

  /**
   * Answers a request by one of the servers.
   * @param key what prompts that belong together have in common
   * @param attempt asks one server
   * @throws PassingError "stopped" when the signal ends it
   * @throws EndpointError when this request got no usable answer, or (FinalError) when no server is left
   */
  async run<T>(key: string, signal: AbortSignal, attempt: (member: Member) => Promise<T>): Promise<T> {
    if (this.#asking++ === 0) this.#askingSince = performance.now();
    try {
      return await this.#persist(key, signal, attempt);
    } finally {
      this.#asking--;
    }
  }

  async #persist<T>(key: string, signal: AbortSignal, attempt: (member: Member) => Promise<T>): Promise<T> {
    const { tries, patienceSeconds } = this.#options;
    const failed = new Set<PooledServer<Member>>();
    const started = performance.now();
    for (let tried = 0; ;) {
      const { server, place } = await this.#turn(key, failed, signal);
      let trouble: PassingError;
      try {
        const result = await attempt(server.member);
        this.#lastGood = performance.now();
        server.answered(this.#lastGood - place.begun);
        return result;
      } catch (error) {
        if (error instanceof FinalError) {
          this.#dismiss(server, error);
          continue;
        }
        if (!(error instanceof PassingError) || error.trouble === "stopped") throw error;
        trouble = error;
        failed.add(server);
        this.#note(server, place.begun, error);
      } finally {
        server.open.delete(place);
        this.#wake(1);
      }
      const now = performance.now();
      if (trouble.trouble === "failing" && ++tried >= tries)
        throw noAnswer(server.member.url, `no usable answer after ${tried} ${tried === 1 ? "try" : "tries"}`, trouble);
      // Servers that ask for patience are waited for by all together: #turn.
      const waited = (now - Math.max(started, this.#lastGood)) / 1000;
      if (trouble.trouble !== "busy" && waited > patienceSeconds)
        throw noAnswer(server.member.url, `no usable answer for ${formatDuration(waited)}`, trouble);
      if (trouble.trouble === "failing" && !this.#hasOther(failed, now)) await this.#pause(server, trouble, tried, signal);
    }
  }

  /**
   * Leaves a server out for now.
   * @param reason in words
   */
  leaveOut(member: Member, reason: string): void {
    const server = this.#servers.find((candidate) => candidate.member === member)!;
    if (server.state !== "in") return;
    this.#remove(server, "out");
    const wait = Math.min(longestPause, this.#options.pauseSeconds * 2 ** (server.outages + 1));
    server.outages++;
    log.warn(`${member.url}: ${reason}; no more requests for now, looked at again in ${wait.toFixed(1)} s`);
    if (this.inUse.length === 0) log.warn(`no server answers; waiting up to ${formatDuration(this.#options.patienceSeconds)} for one`);
    this.#later(wait, async () => await this.#lookAgain(server));
  }

  /** Lets those who wait see that the work was stopped. */
  wakeAll(): void {
    this.#wake(this.#waiting.length);
  }

  /** Ends all looking and waiting. */
  close(): void {
    this.#closing.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.wakeAll();
  }

  /** A server with room for this request, as soon as there is one, and the place there: taken at once, since others ask in the same moment. */
  async #turn(key: string, failed: ReadonlySet<PooledServer<Member>>, signal: AbortSignal): Promise<Turn<Member>> {
    for (;;) {
      if (signal.aborted || this.#closing.signal.aborted) throw new PassingError("stopped", "stopped");
      if (this.#ended) throw this.#ended;
      const now = performance.now();
      const server = this.#choose(key, failed, now);
      if (server) {
        const place = { begun: now };
        server.open.add(place);
        // A window that grew has room for more than the one whose end woke us.
        if (this.#waiting.length > 0) this.#wake(1);
        return { server, place };
      }
      const resting = this.#servers.filter(({ state, restUntil }) => state === "in" && restUntil > now);
      if (resting.length > 0) {
        const { patienceSeconds } = this.#options;
        // What is under way may yet be answered, and so may what is asked after as long a rest as patience allows. Else, a server that
        // asks for patience is not at fault, but nobody waits for ever.
        const hope = this.#servers.some(({ open }) => open.size > 0) || resting.some((one) => one.restsFirst(patienceSeconds));
        const end = hope ? Infinity : Math.max(this.#askingSince, this.#lastGood) + patienceSeconds * 1000;
        if (now >= end) throw this.#endOfPatience();
        // Whoever rests comes back by the clock, with nobody to wake us.
        this.#later((Math.min(end, ...resting.map(({ restUntil }) => restUntil)) - now) / 1000, () => this.#wake(1));
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #choose(key: string, failed: ReadonlySet<PooledServer<Member>>, now: number): PooledServer<Member> | undefined {
    let second: PooledServer<Member> | undefined;
    const fastest = this.#servers.length > 1 ? this.#fastest(now) : undefined;
    for (const server of this.#inOrder(key)) {
      if (server.state !== "in" || server.restUntil > now) continue;
      if (server.open.size >= server.room(fastest, now)) continue;
      if (!failed.has(server)) return server;
      second ??= server;
    }
    // To wait for another is better than to ask again where there was no answer.
    return this.#hasOther(failed, now) ? undefined : second;
  }

  /** The pace of the fastest server, or undefined while none has answered yet. */
  #fastest(now: number): number | undefined {
    const paces = this.#servers.filter(({ state, measured }) => state === "in" && measured).map((server) => server.pace(now));
    return paces.length === 0 ? undefined : Math.min(...paces);
  }

  /** The servers by their scores for this key; requests with the same key come in a row. */
  #inOrder(key: string): readonly PooledServer<Member>[] {
    if (this.#servers.length === 1) return this.#servers;
    if (this.#order?.key === key) return this.#order.servers;
    const hash = hashOf(key);
    const servers = this.#servers.toSorted((a, b) => b.score(hash) - a.score(hash));
    this.#order = { key, servers };
    return servers;
  }

  #hasOther(failed: ReadonlySet<PooledServer<Member>>, now: number): boolean {
    return this.#servers.some((server) => server.state === "in" && server.restUntil <= now && !failed.has(server));
  }

  #note(server: PooledServer<Member>, begun: number, error: PassingError): void {
    const now = performance.now();
    if (error.trouble === "busy" || error.wait !== undefined) {
      const { window } = server;
      const news = server.rest(error.wait ?? 0, { first: this.#options.pauseSeconds, longest: longestPause }, now);
      this.#lastBusy = error;
      if (news) {
        const asked = error.wait === undefined ? "it asks for patience" : `it asks to wait ${error.wait.toFixed(1)} s`;
        const fewer = server.window < window ? ", and gets fewer requests at a time" : "";
        log.warn(`${server.member.url}: ${error.message}; ${asked}${fewer}`);
      }
      return;
    }
    if (error instanceof LateError && server.tooLate(begun, now)) {
      log.warn(
        `${server.member.url}: ${error.message}; asking for ${server.window} at a time for now; a lower --concurrency keeps requests from waiting that long`,
      );
    }
    // Where no other can take over, requests that were open together count once: a server that cuts its connections may be well again.
    const others = this.#servers.some((other) => other !== server && other.state === "in");
    if (others || begun >= server.failedAt) {
      server.failures++;
      server.failedAt = now;
    }
    if (error.trouble === "unreachable" || server.failures >= failuresInARow) this.leaveOut(server.member, error.message);
  }

  /** Takes a server out for good; the last one ends the work. */
  #dismiss(server: PooledServer<Member>, error: LaclipError): void {
    const others = this.#servers.some((other) => other !== server && other.state !== "gone");
    if (!others) throw error;
    if (server.state !== "gone") log.warn(`${error.message} It is not asked again.`);
    this.#remove(server, "gone");
  }

  #remove(server: PooledServer<Member>, state: "out" | "gone"): void {
    server.state = state;
    if (this.inUse.length === 0) this.#noneSince = performance.now();
  }

  async #lookAgain(server: PooledServer<Member>): Promise<void> {
    try {
      await this.#options.look(server.member);
      if (server.state === "gone") return;
      server.state = "in";
      server.failures = 0;
      log.info(`${server.member.url} is there again`);
      this.wakeAll();
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      const reason = (error as Error).message;
      if (!(error instanceof PassingError)) {
        try {
          this.#dismiss(server, LaclipError.is(error) ? error : new EndpointError(`${server.member.url}: ${reason}`));
        } catch (last) {
          this.#end(reason, last);
        }
        return;
      }
      const waited = performance.now() - this.#noneSince;
      if (this.inUse.length === 0 && waited > this.#options.patienceSeconds * 1000) return this.#end(reason, error);
      const wait = Math.min(longestPause, this.#options.pauseSeconds * 2 ** ++server.outages);
      log.debug(`${server.member.url}: ${reason}; looked at again in ${wait.toFixed(1)} s`);
      this.#later(wait, async () => await this.#lookAgain(server));
    }
  }

  /** Ends the work for all, since no server did more than ask for patience. */
  #endOfPatience(): FinalError {
    const waited = formatDuration((performance.now() - Math.max(this.#askingSince, this.#lastGood)) / 1000);
    this.#ended = new FinalError(`${this.#urls}: no usable answer for ${waited}: ${this.#lastBusy?.message ?? "the server asks to wait"}`, {
      mend: "Start the same command again when the server has room or quota: what is done is kept. A lower --concurrency asks less of it, a higher --patience waits longer.",
      cause: this.#lastBusy,
    });
    this.wakeAll();
    return this.#ended;
  }

  get #urls(): string {
    return this.#servers.map(({ member }) => member.url).join(", ");
  }

  #end(reason: string, cause: unknown): void {
    const waited = formatDuration((performance.now() - this.#noneSince) / 1000);
    this.#ended = new FinalError(`${this.#urls}: no server answered for ${waited}; at the last look: ${reason}`, {
      mend: "Start a server, then the same command again: what is done is kept.",
      cause,
    });
    this.wakeAll();
  }

  async #pause(server: PooledServer<Member>, error: PassingError, tried: number, signal: AbortSignal): Promise<void> {
    // Without chance in the pauses, all that failed together would come back together.
    const chance = Random.of("pause", server.member.url, server.failures, tried, this.#waiting.length).uniform();
    const wait = Math.min(30, this.#options.pauseSeconds * 2 ** (tried - 1)) * (0.5 + chance);
    log.debug(`${server.member.url}: ${error.message}; trying again in ${wait.toFixed(1)} s`);
    await pause(wait, AbortSignal.any([signal, this.#closing.signal]));
  }

  #later(seconds: number, work: () => void | Promise<void>): void {
    if (this.#closing.signal.aborted) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void work();
    }, seconds * 1000);
    this.#timers.add(timer);
  }

  #wake(count: number): void {
    for (const resolve of this.#waiting.splice(0, count)) resolve();
  }
}

function noAnswer(url: string, what: string, error: PassingError): EndpointError {
  return new EndpointError(`${url}: ${what}: ${error.message}`, {
    mend: `${
      error instanceof LateError
        ? "Lower --concurrency, so that requests wait less long at the server"
        : "Check that the server runs at this address and has not run out of memory or quota"
    }; then start the same command again: what is done is kept.`,
    cause: error.reason ?? error,
  });
}
