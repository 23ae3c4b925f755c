/**
 * Tensors on libtorch: every operator of PyTorch, typed, through one small addon.
 *
 * Reading order: native.ts (the wall), handle.ts (how long tensors live), operator.ts (one boxed call), tensor.ts, autograd.ts.
 */
export { type NativeHandle, asNativeError, buildRecord, defaultThreads, guard, kernelFolder, native } from "./native.ts";
export type { BuildRecord } from "./native.ts";
export * from "./attention.ts";
export { autocast, enableGrad, noGrad } from "./autograd.ts";
export * from "./device.ts";
export * from "./dtype.ts";
export {
  type ColourScales,
  type NormWeights,
  addNorm,
  canCutPatches,
  canFuse,
  cutPatches,
  gelu,
  linearThen,
  quickGelu,
  splitHeads,
} from "./fused.ts";
export { Graph } from "./graph.ts";
export { DisposedError, scope } from "./handle.ts";
export { hasOperator, operator } from "./operator.ts";
export type { ResultKind, Scalar } from "./operator.ts";
export * as ops from "./operators.generated.ts";
export { type ProductKind, peakFlops, peakOfName } from "./peak-flops.ts";
export { type Profile, type ProfileEvent, startProfile } from "./profiler.ts";
export { asNumbers, readNumbers } from "./readback.ts";
export { recomputed } from "./recompute.ts";
export * from "./runtime.ts";
export * from "./tensor.ts";
