/**
 * Work of a device, recorded once and given to it again by one call instead of thousands: CUDA graphs.
 *
 * A step of a small model is thousands of short kernels, and giving each of them to a GPU can take longer than computing it. What is
 * recorded reads and writes the same memory each time: inputs are tensors that are overwritten before, results tensors that are kept.
 */
import { scope } from "./handle.ts";
import { guard, native } from "./native.ts";

/** Recorded work of a GPU, which `replay` gives to it again; must be disposed of. */
export class Graph {
  #number: number | undefined;

  private constructor(number: number) {
    this.#number = number;
  }

  /**
   * Records what `body` gives a device to do; it is not done yet. What `body` returns belongs to the caller and has its values after each
   * replay. Other work on the device must wait until this returns.
   * @throws NativeError when something can't be recorded: a number that is read, a tensor that comes from the host, a kind of device that
   *   has no graphs
   */
  static record<T>(device: string, body: () => T): { graph: Graph; result: T } {
    const graph = new Graph(guard(() => native().openGraph(device)));
    try {
      const result = scope(body);
      guard(() => native().endGraph(graph.#number!));
      return { graph, result };
    } catch (error) {
      graph.dispose();
      throw error;
    }
  }

  /** Gives the device all of it to do again. Graphs of a device share memory: use the results before another one is replayed. */
  replay(): void {
    guard(() => native().replayGraph(this.#number ?? -1));
  }

  /** Frees it; what the device has been given is done before. Calling it twice is harmless. */
  dispose(): void {
    if (this.#number === undefined) return;
    native().closeGraph(this.#number);
    this.#number = undefined;
  }
}
