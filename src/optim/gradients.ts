/** What is asked of all gradients together. */
import { type Tensor, noGrad, ops, scope, stack } from "../torch/index.ts";

/** True when no element of any tensor is infinite or not a number. */
export function allFinite(tensors: Iterable<Tensor>): boolean {
  return noGrad(() =>
    scope(() => {
      // A sum of absolute values is finite exactly when all are, short of sums beyond float32, which no weights reach.
      const sums = [...tensors].map((tensor) => ops.sum(tensor.abs()));
      return sums.length === 0 || Number.isFinite(ops.sum(stack(sums)).item());
    }),
  );
}

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
