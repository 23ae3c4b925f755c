/**
 * The processes that train together, seen from one of them.
 *
 * Every rank must ask for the same operations in the same order; each returns when all have. They run in libtorch's c10d (native/src/
 * distributed.cc): Gloo between CPUs, NCCL between GPUs. A rank that dies makes the operations of the others fail at once where the
 * connection breaks, else after the time-out. With Gloo the error names operation and rank. NCCL's operations only wait on the GPU, so that
 * nothing is thrown here: PyTorch's watchdog aborts the process.
 */
import { NativeError, UsageError } from "../support/index.ts";
import { Tensor, guard, native, noGrad, scope, tensor, worksAside } from "../torch/index.ts";
import { type Place, findPlace } from "./rendezvous.ts";

/** What carries tensors between ranks: Gloo between CPUs, NCCL between GPUs. */
export type Backend = "gloo" | "nccl";

/** How `ProcessGroup.open` meets the others. */
export interface GroupOptions {
  /** Default: "gloo" between CPUs, "nccl" between GPUs. */
  backend?: Backend;
  /** Default "cpu". */
  device?: string;
  /** Seconds in which all ranks must have come together. Default: LACLIP_MEETING_TIMEOUT, else 300. */
  meetingTimeout?: number;
  /** Seconds that an operation may take, the wait for slower ranks included. Default: LACLIP_RANKS_TIMEOUT, else 1800. */
  timeout?: number;
}

/** An operation under way; its tensors may be used after `wait`. */
export interface Work {
  /** @throws NativeError naming operation and rank. Must be called once. */
  wait(): void;
}

/** The back ends that the addon was built with. */
export function distributedBackends(): Record<Backend, boolean> {
  return guard(() => native().distributedBackends());
}

/**
 * One process among those that train together, with what they can do as one: sums, means, broadcasts, gathers. All throw NativeError when
 * an operation fails. Must be closed.
 */
export class ProcessGroup {
  readonly rank: number;
  readonly ranks: number;
  /** Number of this process on its machine, from 0. */
  readonly localRank: number;
  readonly backend: Backend;
  readonly device: string;
  readonly #number: number;

  private constructor(place: Place, backend: Backend, device: string, number: number) {
    this.rank = place.rank;
    this.ranks = place.ranks;
    this.localRank = place.localRank;
    this.backend = backend;
    this.device = device;
    this.#number = number;
  }

  /**
   * Meets the other ranks; returns when all are there.
   * @throws UsageError when the back end is not in this build; NativeError when not all came in time
   */
  static open(place: Place, options: GroupOptions = {}): ProcessGroup {
    const { device = "cpu" } = options;
    const backend = options.backend ?? (worksAside(device) ? "nccl" : "gloo");
    requireBackend(backend);
    const meeting = options.meetingTimeout ?? seconds("LACLIP_MEETING_TIMEOUT", 300);
    const timeout = options.timeout ?? seconds("LACLIP_RANKS_TIMEOUT", 1800);
    const { rank, ranks, meeting: at, attempt } = place;
    const [where, port, serves] = at.kind === "file" ? [at.path, 0, false] : [at.host, at.port, at.served && rank === 0];
    try {
      const number = native().openGroup(backend, at.kind, where, port, serves, attempt, rank, ranks, meeting * 1000, timeout * 1000);
      return new ProcessGroup(place, backend, device, number);
    } catch (error) {
      const shown = at.kind === "file" ? at.path : `${at.host}:${at.port}`;
      throw new NativeError(`The ${ranks} processes did not come together at ${shown} within ${meeting} s: ${(error as Error).message}`, {
        mend:
          `Do all ${ranks} run, and can they reach ${shown}? This one is rank ${rank} (${place.from}). ` +
          "LACLIP_MEETING_TIMEOUT gives them more seconds; GLOO_SOCKET_IFNAME names the network interface to use between machines.",
        cause: error,
      });
    }
  }

  /** The group that the variables of a launcher speak of; undefined when this process trains alone. See `findPlace`. */
  static find(options: GroupOptions = {}): ProcessGroup | undefined {
    const place = findPlace();
    return place === undefined ? undefined : ProcessGroup.open(place, options);
  }

  /** The addon's number of this group. */
  get number(): number {
    return this.#number;
  }

  /** True for rank 0, which writes what all have done. */
  get first(): boolean {
    return this.rank === 0;
  }

  /** Starts to replace `x`, contiguous and not bfloat16, by its sum over ranks. */
  startSum(x: Tensor): Work {
    return this.#work(() => native().groupStartSum(this.#number, x.handle));
  }

  /** Replaces `x` by its sum over ranks. */
  sum_(x: Tensor): Tensor {
    this.startSum(x).wait();
    return x;
  }

  /** Replaces `x`, of floats, by its mean over ranks. */
  mean_(x: Tensor): Tensor {
    return this.sum_(x).div_(this.ranks);
  }

  /** Starts to replace `x` by that of rank `root`. */
  startBroadcast(x: Tensor, root = 0): Work {
    return this.#work(() => native().groupStartBroadcast(this.#number, x.handle, root));
  }

  /** Replaces the tensors by those of rank `root`. */
  broadcast(tensors: Iterable<Tensor>, root = 0): void {
    for (const x of tensors) this.startBroadcast(x, root).wait();
  }

  /** `[ranks x n, ...]` of every rank's `[n, ...]`, in the order of ranks; gradients flow back to where the rows came from. */
  gather(x: Tensor): Tensor {
    return new Tensor(guard(() => native().groupGatherWithGradient(this.#number, x.handle)));
  }

  /** Each number's mean over ranks, in float64. One exchange for all of them. */
  means(values: readonly number[]): number[] {
    return this.#exchange(values).map((sum) => sum / this.ranks);
  }

  /** True everywhere when it is true on any rank. */
  any(flag: boolean): boolean {
    return this.#exchange([flag ? 1 : 0])[0]! > 0;
  }

  /** Rank 0's numbers, on every rank. */
  ofFirst(values: readonly number[]): number[] {
    return this.#exchange(this.first ? values : values.map(() => 0));
  }

  /** Rank 0's value, which must survive JSON, on every rank; what the others give is not looked at. */
  valueOfFirst<T>(value: T): T {
    const bytes = this.first ? new TextEncoder().encode(JSON.stringify(value)) : new Uint8Array();
    const [length] = this.ofFirst([bytes.length]);
    return noGrad(() =>
      scope(() => {
        const there = Tensor.from(this.first ? bytes : new Uint8Array(length!), [length!], { device: this.device });
        this.broadcast([there]);
        return JSON.parse(new TextDecoder().decode(there.toTypedArray())) as T;
      }),
    );
  }

  /**
   * Holds the tensors of all ranks against each other, bit by bit.
   * @param what what they are, for the message
   * @throws NativeError naming the ranks whose tensors differ from those of rank 0
   */
  checkEqual(tensors: Iterable<Tensor>, what: string): void {
    const own = guard(() => native().fingerprint([...tensors].map(({ handle }) => handle)));
    // In halves of 32 bits, which float64 holds exactly; every rank fills its own place.
    const halves = Array.from({ length: 2 * this.ranks }, () => 0);
    halves[2 * this.rank] = Number.parseInt(own.slice(0, 8), 16);
    halves[2 * this.rank + 1] = Number.parseInt(own.slice(8), 16);
    const all = this.#exchange(halves);
    const others = Array.from({ length: this.ranks }, (_, rank) => rank).filter(
      (rank) => all[2 * rank] !== all[0] || all[2 * rank + 1] !== all[1],
    );
    if (others.length === 0) return;
    throw new NativeError(`${what} of rank ${others.join(", ")} differ from those of rank 0: expected the same bits on all ranks.`, {
      mend: "Do all machines have the same version of laclip and of libtorch? If so, this is a defect: please report it.",
    });
  }

  /** Ends the connections. Others that still wait for this rank fail. */
  close(): void {
    guard(() => native().closeGroup(this.#number));
  }

  #exchange(values: readonly number[]): number[] {
    return noGrad(() =>
      scope(() => {
        return this.sum_(tensor([...values], { dtype: "float64", device: this.device })).toArray();
      }),
    );
  }

  #work(start: () => number): Work {
    const number = guard(start);
    return { wait: () => guard(() => native().workWait(number)) };
  }
}

/** @throws UsageError when this build can't do what was asked for */
function requireBackend(backend: Backend): void {
  if (distributedBackends()[backend]) return;
  throw new UsageError(`Several processes were asked for, but this build of the addon has no ${backend === "gloo" ? "Gloo" : "NCCL"}.`, {
    mend:
      backend === "gloo"
        ? "Gloo needs the headers that come with the distribution's libtorch: `sudo apt-get install libtorch-dev libgloo-dev`, then `LACLIP_LIBTORCH=/usr npm run setup`. A PyTorch wheel does not bring them."
        : "NCCL comes with a CUDA wheel of PyTorch and needs its nccl.h: `npm run setup` after installing it.",
  });
}

function seconds(name: string, otherwise: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new UsageError(`${name}: expected seconds, more than 0, got "${text}".`);
  return value;
}
