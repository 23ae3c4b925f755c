/**
 * The mean of gradients over ranks, reduced while the backward pass still computes (native/src/reducer.cc).
 *
 *   reducer.arm();        // before the backward pass that completes the gradients
 *   loss.backward();
 *   reducer.finish();     // every `grad` is now the mean over ranks
 */
import type { Tensor } from "../torch/index.ts";
import { guard, native } from "../torch/index.ts";
import type { ProcessGroup } from "./process-group.ts";

/** Bytes from which a bucket of gradients is sent: enough that starting costs nothing, few enough that there is something to overlap. */
const bucketBytes = 25e6;

/** Makes the gradients of some parameters their means over the ranks of a group; must be closed. */
export class GradientReducer {
  readonly #number: number;
  #bytes = 0;

  /**
   * @param parameters float32 leaves that require gradients, in the same order on every rank
   * @throws NativeError for others
   */
  constructor(group: ProcessGroup, parameters: Iterable<Tensor>, bytesOfBucket = bucketBytes) {
    const handles = [...parameters].map(({ handle }) => handle);
    this.#number = guard(() => native().openReducer(group.number, handles, bytesOfBucket));
  }

  /** Bytes that the last `finish` has reduced: those of the parameters, once. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Says that the next backward pass completes the gradients: of several that accumulate, only the last is followed. */
  arm(): void {
    guard(() => native().armReducer(this.#number));
  }

  /** Waits until every gradient is the mean over ranks. A parameter without a gradient stays without. */
  finish(): void {
    this.#bytes = guard(() => native().finishReducer(this.#number));
  }

  close(): void {
    guard(() => native().closeReducer(this.#number));
  }
}
