/**
 * AdamW (Loshchilov & Hutter 2019) with decoupled weight decay for each group, as torch.optim.AdamW computes it.
 *
 * The update is one pass over memory: on the processor in the addon (native/src/adamw.cc), on a GPU by libtorch's fused operator.
 */
import { ModelFormatError, UsageError } from "../support/index.ts";
import { Tensor, asNativeError, hasOperator, native, noGrad, zeros } from "../torch/index.ts";

export interface ParameterGroup {
  /** Parameters by full name; the names are the keys of the optimiser's state. */
  parameters: ReadonlyMap<string, Tensor>;
  weightDecay: number;
}

export interface AdamWOptions {
  betas: readonly [number, number];
  eps: number;
  /** Update by libtorch's fused operator. Default: where the parameters are not on the CPU, and this libtorch has it (2.0). */
  fused?: boolean | undefined;
}

export class AdamW {
  readonly #groups: readonly ParameterGroup[];
  readonly #options: AdamWOptions;
  readonly #first = new Map<string, Tensor>();
  readonly #second = new Map<string, Tensor>();
  #step = 0;

  /** @throws UsageError for betas outside [0, 1) and for a name that is given twice */
  constructor(groups: readonly ParameterGroup[], options: AdamWOptions) {
    const [beta1, beta2] = options.betas;
    if (!(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1))
      throw new UsageError(`AdamW: betas must be in [0, 1), got ${beta1} and ${beta2}.`);
    this.#groups = groups;
    this.#options = options;
    for (const { parameters } of groups) {
      for (const [name, parameter] of parameters) {
        if (this.#first.has(name)) throw new UsageError(`AdamW: parameter "${name}" is given twice.`);
        this.#first.set(name, zeros(parameter.shape, { device: parameter.device }).keep());
        this.#second.set(name, zeros(parameter.shape, { device: parameter.device }).keep());
      }
    }
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#step;
  }

  /** One update of every parameter that has a gradient. @param lr learning rate of this step */
  step(lr: number): void {
    this.#step++;
    const fused = this.#options.fused ?? hasOperator("aten::_fused_adamw_");
    for (const { parameters, weightDecay } of this.#groups) {
      const names = [...parameters.keys()];
      try {
        native().adamwStep(
          names.map((name) => parameters.get(name)!.handle),
          names.map((name) => this.#first.get(name)!.handle),
          names.map((name) => this.#second.get(name)!.handle),
          this.#step,
          lr,
          this.#options.betas[0],
          this.#options.betas[1],
          this.#options.eps,
          weightDecay,
          fused && (this.#options.fused === true || parameters.values().next().value?.device !== "cpu"),
        );
      } catch (error) {
        throw asNativeError(error);
      }
    }
  }

  /** The moments, as `first.<name>` and `second.<name>`; with `steps` this is all that a resumed run needs. */
  stateDict(): Map<string, Tensor> {
    const state = new Map<string, Tensor>();
    for (const [name, tensor] of this.#first) state.set(`first.${name}`, tensor);
    for (const [name, tensor] of this.#second) state.set(`second.${name}`, tensor);
    return state;
  }

  /** Goes on from a saved state. @throws ModelFormatError when it is of another model; nothing is changed then */
  loadStateDict(state: ReadonlyMap<string, Tensor>, steps: number, origin = "optimiser state"): void {
    const own = this.stateDict();
    const foreign = [...state.keys()].filter((name) => !own.has(name));
    if (foreign.length > 0)
      throw new ModelFormatError(`${origin}: is of another model: ${foreign.slice(0, 5).join(", ")} are not in this one.`);
    for (const [name, tensor] of own) {
      const given = state.get(name);
      if (given === undefined || given.shape.join() !== tensor.shape.join()) {
        throw new ModelFormatError(`${origin}: ${name} is missing or of another shape; expected [${tensor.shape.join(", ")}].`);
      }
    }
    noGrad(() => own.forEach((tensor, name) => void tensor.copy_(state.get(name)!)));
    this.#step = steps;
  }

  /** Says how many steps led to moments that were put in place by other means than `loadStateDict`. */
  continueFrom(steps: number): void {
    this.#step = steps;
  }

  dispose(): void {
    for (const tensor of this.stateDict().values()) tensor.dispose();
  }
}
