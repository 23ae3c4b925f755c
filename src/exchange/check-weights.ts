/** Whether weights are those of a model. */
import { ModelFormatError } from "../support/index.ts";
import { type ClipConfig, weightShapes } from "../models/index.ts";
import { asFloat32 } from "./stored-matrices.ts";
import type { Weights } from "./weights-file.ts";

/** How many of many are named in a message. */
const mostNamed = 5;

/**
 * The weights as float32, in our order, once it is sure that all are there, none else is, and each has its shape.
 * @param weights by our names; a scalar may also have the shape [1]
 * @param origin where they come from, for messages
 * @throws ModelFormatError naming those that are missing, too many, or of other shapes
 */
export function checkWeights(weights: Weights, config: ClipConfig, origin: string): Weights {
  const shapes = weightShapes(config);
  const checked: Weights = new Map();
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const [name, shape] of shapes) {
    const given = weights.get(name);
    if (given === undefined) missing.push(name);
    else if (given.shape.join() !== shape.join() && !(shape.length === 0 && given.shape.join() === "1"))
      misshapen.push(`${name} is [${given.shape.join(", ")}], expected [${shape.join(", ")}]`);
    else {
      const tensor = asFloat32({ ...given, shape });
      if (tensor.dtype === "F32") checked.set(name, tensor);
      else misshapen.push(`${name} has elements of type ${tensor.dtype}, expected floats`);
    }
  }
  const unknown = [...weights.keys()].filter((name) => !shapes.has(name));
  const faults = [named("missing", missing), named("of another shape or type", misshapen), named("unknown", unknown)].filter(
    (text) => text !== "",
  );
  if (faults.length > 0)
    throw new ModelFormatError(`${origin}: the weights are not those of the model they should be.\n  ${faults.join("\n  ")}`);
  return checked;
}

function named(what: string, names: readonly string[]): string {
  if (names.length === 0) return "";
  const more = names.length > mostNamed ? ` and ${names.length - mostNamed} more` : "";
  return `${what}: ${names.slice(0, mostNamed).join("; ")}${more}`;
}
