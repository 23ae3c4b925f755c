/**
 * What the processes of a run owe each other: they start from the same weights, take the same steps, stop together, and the first of
 * them writes what all have done.
 *
 * The state lies on rank 0. Others get weights and moments from it, never from the disk, so that machines need no common run folder, and
 * a run can go on with another number of processes.
 */
import { GradientReducer, type ProcessGroup } from "../distributed/index.ts";
import type { Module } from "../nn/index.ts";
import type { AdamW } from "../optim/index.ts";
import { type Tensor, asNumbers, noGrad } from "../torch/index.ts";
import type { StepRanks } from "./step.ts";

/** What a trainer asks of the other processes of its run. */
export class Ranks implements StepRanks {
  readonly #group: ProcessGroup;
  readonly #model: Module;
  readonly #optimizer: AdamW;
  readonly #reducer: GradientReducer;

  constructor(group: ProcessGroup, model: Module, optimizer: AdamW) {
    this.#group = group;
    this.#model = model;
    this.#optimizer = optimizer;
    this.#reducer = new GradientReducer(
      group,
      model.parameters().filter(({ requiresGrad }) => requiresGrad),
    );
  }

  /**
   * Gives every rank the weights and moments of the first: at the start, and whenever it has restored others.
   * @param state what belongs to them, of the first rank; must survive JSON. `updates`: steps that the optimiser has taken
   * @returns the state of the first rank, on all
   */
  start<T extends { updates: number }>(state: T): T {
    const agreed = this.#group.valueOfFirst(state);
    noGrad(() => this.#group.broadcast([...this.#model.parameters(), ...this.#optimizer.stateDict().values()]));
    this.#optimizer.continueFrom(agreed.updates);
    return agreed;
  }

  arm(): void {
    this.#reducer.arm();
  }

  finish(): void {
    this.#reducer.finish();
  }

  /** Bytes of gradients that a step exchanges: those of the parameters that learn, once. */
  get bytes(): number {
    return this.#reducer.bytes;
  }

  means(values: readonly Tensor[]): Tensor {
    return noGrad(() => this.#group.mean_(asNumbers(values)));
  }

  /** The means by their names, which must be the same on all ranks, in the same order. */
  meansByName(values: Readonly<Record<string, number>>): Record<string, number> {
    const means = this.#group.means(Object.values(values));
    return Object.fromEntries(Object.keys(values).map((name, i) => [name, means[i]!]));
  }

  /** True on all ranks when it is true on any: whoever was asked to stop stops all at the same step. */
  any(flag: boolean): boolean {
    return this.#group.any(flag);
  }

  /** Whether rank 0 says so. */
  firstSays(flag: boolean): boolean {
    return this.#group.ofFirst([flag ? 1 : 0])[0] === 1;
  }

  /** @throws NativeError when weights or moments differ between ranks: a checkpoint of rank 0 would not be the run's */
  checkEqual(): void {
    this.#group.checkEqual([...this.#model.parameters(), ...this.#optimizer.stateDict().values()], "The weights or moments");
  }

  close(): void {
    this.#reducer.close();
  }
}
