/** Whether tensors are those that a model has. */
import type { StoredTensor } from "../formats/index.ts";
import { ModelFormatError } from "../support/index.ts";
import { asFloat32 } from "./stored-matrices.ts";
import type { Weights } from "./weights-file.ts";

/** How many of many are named in a message. */
const mostNamed = 5;

/**
 * The tensors as float32, in the order of `expected`, once it is sure that all are there, none else is, and each has its shape.
 * @param given a scalar may also have the shape [1]
 * @param origin where they come from, for messages
 * @throws ModelFormatError naming those that are missing, of another shape or type, or unknown
 */
export function checkTensors(given: ReadonlyMap<string, StoredTensor>, expected: ReadonlyMap<string, number[]>, origin: string): Weights {
  const checked: Weights = new Map();
  const missing: string[] = [];
  const wrong: string[] = [];
  for (const [name, shape] of expected) {
    const tensor = given.get(name);
    if (tensor === undefined) missing.push(name);
    else if (tensor.shape.join() !== shape.join() && !(shape.length === 0 && tensor.shape.join() === "1"))
      wrong.push(`${name}: expected [${shape.join(", ")}], got [${tensor.shape.join(", ")}]`);
    else {
      const floats = asFloat32({ ...tensor, shape });
      if (floats.dtype === "F32") checked.set(name, floats);
      else wrong.push(`${name}: expected floats, got ${floats.dtype}`);
    }
  }
  const unknown = [...given.keys()].filter((name) => !expected.has(name));
  if (missing.length + wrong.length + unknown.length === 0) return checked;
  const lines = [listed("missing", missing), listed("of another shape or type", wrong), listed("unknown", unknown)].flat();
  throw new ModelFormatError([`${origin}: the weights do not fit the description of the model.`, ...lines].join("\n  "));
}

function listed(what: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const more = names.length > mostNamed ? ` and ${names.length - mostNamed} more` : "";
  return [`${what}: ${names.slice(0, mostNamed).join(", ")}${more}`];
}
