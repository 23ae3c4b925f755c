/** One server of several: what is open there, how fast it answers, and how much it is given. */

/** What the pool must know of a server. */
export interface PoolMember {
  readonly url: string;
}

/** A server that takes this many times as long as the fastest gets a smaller window. */
const clearlySlow = 2;
/** Seconds without being asked for patience, after which that is news again. */
const quietFor = 60;
/** How fast a window grows that is nearly as wide as the one that was too wide, compared with others. */
const slowGrowth = 1 / 16;

/** One server and how it has fared. */
export class PooledServer<Member extends PoolMember> {
  /** Begin of each open request, in milliseconds; the oldest first. */
  readonly open = new Set<{ readonly begun: number }>();
  readonly #hash: number;
  /** Requests that may be open at once. */
  window: number;
  /** "out": left out until a look at it succeeds; "gone": not asked again. */
  state: "in" | "out" | "gone" = "in";
  /** No request before this time. */
  restUntil = 0;
  /** Failures since the last usable answer. */
  failures = 0;
  /** When a failure was last counted. */
  failedAt = -Infinity;
  /** Times it was left out since the last usable answer. */
  outages = 0;
  /** Whether it has ever asked for patience. */
  #hasRested = false;
  /** Times it asked for patience since the last usable answer. */
  #rests = 0;
  /** Seconds of its last rest, by the longest that was asked for. */
  #restsFor = 0;
  /** When it was last too late with an answer, and its window was halved for that. */
  #lateAt = -Infinity;
  /** The window at which it last asked for patience, or was too late. */
  #tooWide = Infinity;
  /** Smoothed milliseconds of an answer. */
  #usual: number | undefined;

  constructor(
    readonly member: Member,
    private readonly widest: number,
  ) {
    this.#hash = hashOf(member.url);
    this.window = widest;
  }

  /** The higher, the sooner it is asked what has this key. */
  score(key: number): number {
    return mix(key ^ this.#hash);
  }

  /** True once there is something to compare with others. */
  get measured(): boolean {
    return this.#usual !== undefined;
  }

  /** Milliseconds that an answer takes now; a server that hangs shows by the age of what is open. */
  pace(now: number): number {
    const [oldest] = this.open;
    return Math.max(this.#usual ?? 0, oldest ? now - oldest.begun : 0);
  }

  /**
   * Requests that may be open: its window, less where it is clearly slow.
   * @param fastest pace of the fastest server, or undefined while none is known
   */
  room(fastest: number | undefined, now: number): number {
    if (fastest === undefined) return Math.floor(this.window);
    const share = Math.min(1, (clearlySlow * fastest) / this.pace(now));
    return Math.max(1, Math.floor(this.window * share));
  }

  /** Whether it rests for the first time since its last answer, for no longer than this: it was not asked again yet. */
  restsFirst(seconds: number): boolean {
    return this.#rests === 1 && this.#restsFor <= seconds;
  }

  answered(milliseconds: number): void {
    this.#usual = this.#usual === undefined ? milliseconds : this.#usual + (milliseconds - this.#usual) / 16;
    // A server that refuses what is beyond its limit would else rest most of the time; past that, the limit has gone.
    const growth = Math.abs(this.window - this.#tooWide) < 1 ? slowGrowth : 1;
    this.window = Math.min(this.widest, this.window + growth / this.window);
    this.failures = 0;
    this.outages = 0;
    this.#rests = 0;
  }

  /**
   * It did not answer in time: half as many requests as were under way.
   * @param begun when that request began; of those that were open together, one halving is enough
   * @returns whether it gets fewer now
   */
  tooLate(begun: number, now: number): boolean {
    const open = Math.min(Math.floor(this.window), this.open.size);
    if (begun < this.#lateAt || open < 2) return false;
    this.#lateAt = now;
    this.#tooWide = open;
    this.window = Math.floor(open / 2);
    return true;
  }

  /**
   * It asked for patience: fewer requests, and none for a while.
   * @param asked seconds that it named, 0 for none
   * @param pauses seconds of the first pause, which doubles until there is an answer, and of the longest
   * @returns whether that is news: it never did so before, or had long taken all that it was given
   */
  rest(asked: number, pauses: { readonly first: number; readonly longest: number }, now: number): boolean {
    const news = !this.#hasRested || (this.window === this.widest && now - this.restUntil >= quietFor * 1000);
    this.#hasRested = true;
    // Of the requests that were open together, one halving is enough.
    if (now >= this.restUntil) {
      this.#tooWide = this.window;
      this.window = Math.max(1, this.window / 2);
      this.#rests++;
      this.#restsFor = 0;
    }
    const pause = Math.min(pauses.longest, pauses.first * 2 ** (this.#rests - 1));
    const wait = Math.max(asked, pause);
    this.#restsFor = Math.max(this.#restsFor, wait);
    this.restUntil = Math.max(this.restUntil, now + wait * 1000);
    return news;
  }
}

/** FNV-1a over UTF-16 units, 32 bits. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/** Spreads the bits of a number over 0 .. 2^32 - 1 (the finalizer of MurmurHash3). */
function mix(bits: number): number {
  let hash = bits;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
