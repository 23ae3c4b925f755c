/**
 * Initial weights. Each changes its tensor in place and returns it; random numbers come from the library's generator (`manualSeed`).
 */
import { type Tensor, noGrad, ops, scope } from "../torch/index.ts";

/** N(mean, std^2). */
export function normal(tensor: Tensor, std: number, mean = 0): Tensor {
  return noGrad(() => ops.normal_(tensor, mean, std));
}

/** U(-bound, bound). */
export function uniform(tensor: Tensor, bound: number): Tensor {
  return noGrad(() => ops.uniform_(tensor, -bound, bound));
}

/** N(0, std^2) cut at -2 and 2 (not at multiples of std: `torch.nn.init.trunc_normal_`, as timm uses it). */
export function truncatedNormal(tensor: Tensor, std: number): Tensor {
  const edge = normalCdf(2 / std);
  noGrad(() => scope(() => void ops.clamp_(ops.erfinv_(ops.uniform_(tensor, 1 - 2 * edge, 2 * edge - 1)).mul_(std * Math.SQRT2), -2, 2)));
  return tensor;
}

/** U(-b, b) with b = sqrt(6 / (fan in + fan out)), for a weight `[out, in]`. */
export function xavierUniform(tensor: Tensor): Tensor {
  const [out, fanIn] = tensor.shape as [number, number];
  return uniform(tensor, Math.sqrt(6 / (fanIn + out)));
}

/** PyTorch's default for weights `[out, in, ...]`: U(-1/sqrt(fan in), 1/sqrt(fan in)). */
export function fanInUniform(tensor: Tensor, fanIn = tensor.shape.slice(1).reduce((product, size) => product * size, 1)): Tensor {
  return uniform(tensor, 1 / Math.sqrt(fanIn));
}

/** All `value`. */
export function constant(tensor: Tensor, value: number): Tensor {
  return noGrad(() => tensor.fill_(value));
}

function normalCdf(x: number): number {
  // Beyond 8 deviations the distribution function is 1 in double precision; timm's std of 0.02 puts the edge at 100.
  if (x > 8) return 1;
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (x * x) / (2 * n + 1);
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}
