/**
 * AdamW (Loshchilov & Hutter 2019) with decoupled weight decay for each group, as torch.optim.AdamW computes it.
 *
 * The update is one pass over memory: on the processor in the addon (native/src/adamw.cc), on a GPU by libtorch's fused operator.
 * There the numbers that change from step to step lie in tensors ("capturable" in PyTorch), so that an update can be part of a graph.
 */
import { ModelFormatError, UsageError } from "../support/index.ts";
import { type NativeHandle, type Tensor, guard, native, noGrad, zeros } from "../torch/index.ts";

type Handles = readonly NativeHandle[];

/** Parameters that share a weight decay. */
export interface ParameterGroup {
  /** Parameters by full name; the names are the keys of the optimiser's state. */
  parameters: ReadonlyMap<string, Tensor>;
  weightDecay: number;
}

/** The constants of AdamW. */
export interface AdamWOptions {
  betas: readonly [number, number];
  eps: number;
  /** Update from numbers that lie in tensors, by libtorch's fused operator where it takes them. Default: off the CPU. */
  capturable?: boolean | undefined;
}

/** The optimiser: a `step` changes float32 parameters by their gradients; those without one stay as they are. */
export class AdamW {
  readonly #groups: readonly ParameterGroup[];
  readonly #options: AdamWOptions;
  readonly #first = new Map<string, Tensor>();
  readonly #second = new Map<string, Tensor>();
  /** float32 scalars where the parameters are; undefined where updates are done on the processor. */
  readonly #numbers: { readonly step: Tensor; readonly lr: Tensor } | undefined;
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
    const device = [...this.#first.values()][0]?.device ?? "cpu";
    const number = (): Tensor => zeros([], { device }).keep();
    this.#numbers = (options.capturable ?? device !== "cpu") ? { step: number(), lr: number() } : undefined;
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#step;
  }

  /** One update of every parameter that has a gradient. @param lr learning rate of this step */
  step(lr: number): void {
    if (this.#numbers === undefined) {
      this.#each((tensors, weightDecay) => native().adamwStep(...tensors, this.#step + 1, lr, ...this.#constants(), weightDecay));
    } else {
      this.announce(lr);
      this.updateAnnounced();
    }
    this.#step++;
  }

  /** Puts the numbers of the next step where `updateAnnounced` and what was recorded of it find them. */
  announce(lr: number): void {
    const { step, lr: rate } = this.#capturable();
    noGrad(() => {
      step.fill_(this.#step + 1);
      rate.fill_(lr);
    });
  }

  /**
   * The update of the step that was announced, without counting it: it may be recorded, and is then done at each replay.
   * @param skip float32 scalar on the device; where it is 1, the update is left out, where it is 0, not
   */
  updateAnnounced(skip?: Tensor): void {
    const { step, lr } = this.#capturable();
    const numbers = [step, lr, ...(skip === undefined ? [] : [skip])].map(({ handle }) => handle);
    this.#each((tensors, weightDecay) => native().adamwStepOnDevice(...tensors, numbers, ...this.#constants(), weightDecay));
  }

  /** Counts the announced step, whose update was replayed. */
  countAnnounced(): void {
    this.#step++;
  }

  #capturable(): { readonly step: Tensor; readonly lr: Tensor } {
    if (this.#numbers === undefined) throw new Error("internal: the numbers of this optimiser's steps lie in no tensors");
    return this.#numbers;
  }

  #constants(): [beta1: number, beta2: number, eps: number] {
    const { betas, eps } = this.#options;
    return [...betas, eps];
  }

  #each(update: (tensors: [weights: Handles, firsts: Handles, seconds: Handles], weightDecay: number) => void): void {
    for (const { parameters, weightDecay } of this.#groups) {
      const handles = (tensors: ReadonlyMap<string, Tensor>): Handles => [...parameters.keys()].map((name) => tensors.get(name)!.handle);
      guard(() => update([handles(parameters), handles(this.#first), handles(this.#second)], weightDecay));
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
    for (const tensor of [...this.stateDict().values(), ...Object.values(this.#numbers ?? {})]) tensor.dispose();
  }
}
