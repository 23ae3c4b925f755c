/** What is asked of all gradients together. */
import { type Tensor, hasOperator, noGrad, operator, ops, scope, stack } from "../torch/index.ts";

const foreachNorm = operator<(tensors: readonly Tensor[], order: number) => Tensor[]>("aten::_foreach_norm", "Scalar", "tensors");
const foreachScale = operator<(tensors: readonly Tensor[], factor: number) => void>("aten::_foreach_mul_", "Scalar", "value");
const foreachScaleThere = operator<(tensors: readonly Tensor[], factor: Tensor) => void>("aten::_foreach_mul_", "Tensor", "value");

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
  return scope(() => gradientNormOf(parameters)?.item() ?? 0);
}

/** The same where it was computed, a scalar that nobody has waited for; undefined when there is no gradient. */
export function gradientNormOf(parameters: Iterable<Tensor>): Tensor | undefined {
  return noGrad(() =>
    scope(() => {
      const gradients = gradientsOf(parameters);
      if (gradients.length === 0) return undefined;
      return ops.normScalar(stack(onGpu(gradients) ? foreachNorm(gradients, 2) : gradients.map((gradient) => ops.normScalar(gradient))));
    }),
  );
}

/** Multiplies all gradients with a number, or with a scalar on their device. */
export function scaleGradients(parameters: Iterable<Tensor>, factor: Tensor | number): void {
  noGrad(() =>
    scope(() => {
      const gradients = gradientsOf(parameters);
      if (typeof factor === "number" && onGpu(gradients)) foreachScale(gradients, factor);
      else if (typeof factor !== "number" && onGpu(gradients) && hasOperator("aten::_foreach_mul_", "Tensor"))
        foreachScaleThere(gradients, factor);
      else for (const gradient of gradients) gradient.mul_(factor);
    }),
  );
}

function gradientsOf(parameters: Iterable<Tensor>): Tensor[] {
  return [...parameters].flatMap(({ grad }) => grad ?? []);
}

/** Where all of them together are one call instead of hundreds. */
function onGpu(tensors: readonly Tensor[]): boolean {
  return tensors.length > 0 && tensors[0]!.device !== "cpu" && hasOperator("aten::_foreach_norm", "Scalar");
}
