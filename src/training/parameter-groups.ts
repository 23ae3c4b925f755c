/** Which parameters are decayed. */
import type { Module } from "../nn/index.ts";
import type { ParameterGroup } from "../optim/index.ts";

/**
 * LaCLIP's rule (train.py): parameters with fewer than two dimensions, or with `bias`, `ln` or `bn` in their name, are not decayed; so
 * class token, position and token embeddings and both projections are. What is frozen is in no group.
 */
export function decayGroups(model: Module, weightDecay: number): ParameterGroup[] {
  const decayed = new Map();
  const free = new Map();
  for (const [name, parameter] of model.namedParameters()) {
    if (!parameter.requiresGrad) continue;
    const exempt = parameter.shape.length < 2 || /bias|ln|bn/.test(name);
    (exempt ? free : decayed).set(name, parameter);
  }
  return [
    { parameters: decayed, weightDecay },
    { parameters: free, weightDecay: 0 },
  ];
}
