/** Where gradients are recorded, and in which precision operators run. Both belong to the JavaScript thread that sets them. */
import { UsageError } from "../support/index.ts";
import type { DType } from "./dtype.ts";
import { guard, native } from "./native.ts";

/** Runs `body` without recording gradients. @throws UsageError when `body` is asynchronous */
export function noGrad<T>(body: () => T): T {
  return withGradMode(false, body);
}

/** Runs `body` with gradients recorded, also inside `noGrad`. */
export function enableGrad<T>(body: () => T): T {
  return withGradMode(true, body);
}

function withGradMode<T>(on: boolean, body: () => T): T {
  const before = native().gradMode();
  native().setGradMode(on);
  try {
    return synchronous(body());
  } finally {
    native().setGradMode(before);
  }
}

/** What autocast narrows to just now, and where. */
let narrowing: { device: string; dtype: DType & ("bfloat16" | "float16") } | undefined;

/**
 * Runs `body` under autocast: matrix products in `dtype`, what needs the range in float32, as PyTorch's autocast decides.
 *
 * The low-precision copies of weights that autocast keeps are dropped at the end: kept past an optimiser step they would be those of
 * the old weights, and the model would silently not learn. Not to be nested.
 * @param device "cpu" or "cuda"
 * @throws UsageError when `body` is asynchronous
 */
export function autocast<T>(device: string, dtype: DType & ("bfloat16" | "float16"), body: () => T): T {
  const kind = device.split(":")[0]!;
  guard(() => native().setAutocast(kind, dtype));
  narrowing = { device, dtype };
  try {
    return synchronous(body());
  } finally {
    narrowing = undefined;
    native().setAutocast(kind, undefined);
    native().clearAutocastCache();
  }
}

/** Runs `body` under the autocast that is in force now, later on. */
export function presentAutocast(): <T>(body: () => T) => T {
  const now = narrowing;
  return (body) => (now === undefined ? body() : autocast(now.device, now.dtype, body));
}

/** Refuses a promise: after its first await the body would go on outside, in whatever mode other work has set. */
function synchronous<T>(result: T): T {
  if (result instanceof Promise) throw new UsageError("The body must not be asynchronous. Put the calls between the awaits.");
  return result;
}
