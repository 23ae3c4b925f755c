/**
 * Things that hold weights, and the names their weights have in files.
 *
 * A module names its parameters and children when it makes them; the names joined by dots are the keys of the state dict, so that they
 * can be exactly those of the models whose weights we read and write, whatever the properties are called in TypeScript.
 */
import { ModelFormatError, invariant } from "../support/index.ts";
import { Tensor, noGrad, scope } from "../torch/index.ts";

/** Base of all that has weights: a subclass registers parameters and parts, and has names, state and device of all of them. */
export class Module {
  readonly #parameters = new Map<string, Tensor>();
  readonly #children = new Map<string, Module>();

  /** Registers a trainable tensor under `name` and returns it; it outlives all scopes. */
  protected parameter(name: string, value: Tensor): Tensor {
    invariant(!this.#parameters.has(name), `parameter ${name} exists already`);
    value.keep().setRequiresGrad();
    this.#parameters.set(name, value);
    return value;
  }

  /** Registers a part under `name` and returns it. */
  protected child<M extends Module>(name: string, module: M): M {
    invariant(!this.#children.has(name), `child ${name} exists already`);
    this.#children.set(name, module);
    return module;
  }

  /** Registers `count` parts under `name.0`, `name.1`, ... and returns them. */
  protected children<M extends Module>(name: string, count: number, make: (index: number) => M): M[] {
    return Array.from({ length: count }, (_, index) => this.child(`${name}.${index}`, make(index)));
  }

  /** Every parameter with its full name, own ones first, in order of registration. */
  *namedParameters(prefix = ""): Generator<[name: string, parameter: Tensor]> {
    for (const [name, parameter] of this.#parameters) yield [prefix + name, parameter];
    for (const [name, module] of this.#children) yield* module.namedParameters(`${prefix}${name}.`);
  }

  parameters(): Tensor[] {
    return [...this.namedParameters()].map(([, parameter]) => parameter);
  }

  /** Number of trainable numbers. */
  get parameterCount(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
  }

  /** The parameters themselves (not copies) by name. */
  stateDict(): Map<string, Tensor> {
    return new Map(this.namedParameters());
  }

  /**
   * Copies values into the parameters, converting dtype and device.
   * @param origin what the state comes from, for messages: a file name
   * @throws ModelFormatError naming missing and unexpected keys and wrong shapes; nothing is changed then
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>, origin = "state dict"): void {
    const own = this.stateDict();
    const missing = [...own.keys()].filter((name) => !state.has(name));
    const unexpected = [...state.keys()].filter((name) => !own.has(name));
    const misshaped = [...own].flatMap(([name, parameter]) => {
      const given = state.get(name)?.shape;
      if (given === undefined || given.join() === parameter.shape.join()) return [];
      return [`${name}: expected [${parameter.shape.join(", ")}], got [${given.join(", ")}]`];
    });
    if (missing.length + unexpected.length + misshaped.length > 0) {
      throw new ModelFormatError(
        [
          `${origin}: the weights do not fit the model.`,
          ...list("missing", missing),
          ...list("not in the model", unexpected),
          ...list("of another shape", misshaped),
        ].join("\n  "),
        { mend: "Is it the same architecture (width, depth, patch, image size) as the weights were trained with?" },
      );
    }
    noGrad(() => scope(() => own.forEach((parameter, name) => void parameter.copy_(state.get(name)!))));
  }

  /** Drops all gradients. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.grad = undefined;
  }

  /** Moves all parameters to a device, before an optimiser gets them: its moments lie where they are. Returns itself. */
  moveTo(device: string): this {
    for (const parameter of this.parameters()) parameter.moveTo(device);
    return this;
  }

  /** Frees all parameters. */
  dispose(): void {
    for (const parameter of this.parameters()) parameter.dispose();
  }
}

function list(what: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  return [`${what} (${names.length}): ${names.slice(0, 5).join("; ")}${names.length > 5 ? "; ..." : ""}`];
}
