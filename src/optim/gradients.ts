/** What is asked of all gradients together. */
import { type Tensor, noGrad, ops, scope, stack } from "../torch/index.ts";

/** Euclidean norm of all gradients as one vector; 0 when there is none. */
export function gradientNorm(parameters: Iterable<Tensor>): number {
  return noGrad(() =>
    scope(() => {
      const norms = [...parameters].flatMap((parameter) => {
        const { grad } = parameter;
        return grad === undefined ? [] : [ops.normScalar(grad)];
      });
      return norms.length === 0 ? 0 : ops.normScalar(stack(norms)).item();
    }),
  );
}
