/**
 * A typed function for one operator of libtorch.
 *
 * `operators.generated.ts` declares one of these for each public operator, with its TypeScript signature; all of them go through the
 * same boxed native call. Arguments come in the order of the schema; `undefined` stands for the schema's default and `null` for None.
 */
import { Handle } from "./handle.ts";
import { asNativeError, native } from "./native.ts";
import type { Tensor } from "./tensor.ts";

/** Whole numbers are passed as integers, so that integer tensors stay integer; a boolean is a bool. */
export type Scalar = number | boolean | bigint;

/** What the native call returns for an operator. */
export type ResultKind = "tensor" | "self" | "tensors" | "value";

let wrap: (handle: number) => Tensor = () => {
  throw new Error("internal: the Tensor class is not loaded");
};

/** Called once by tensor.ts: operators make tensors, and tensors have operators as methods. */
export function setTensorConstructor(constructor: (handle: number) => Tensor): void {
  wrap = constructor;
}

/**
 * The function for operator `name.overload`, looked up at its first call.
 * @throws NativeError naming operator, argument, expected and got; also when the libtorch in use has no such operator.
 */
export function operator<F extends (...args: never[]) => unknown>(name: string, overload: string, result: ResultKind): F {
  let index = -1;
  const invoke = (...args: unknown[]): unknown => {
    try {
      if (index < 0) index = native().findOperator(name, overload);
      const self = args[0];
      for (let i = 0; i < args.length; i++) {
        const value = args[i];
        if (value instanceof Handle) args[i] = value.handle;
        else if (Array.isArray(value)) args[i] = value.map(unwrap);
      }
      const returned =
        args.length === 2
          ? native().call(index, args[0], args[1])
          : args.length === 1
            ? native().call(index, args[0])
            : native().call(index, ...args);
      if (result === "tensor") return wrap(returned as number);
      if (result === "self") return self;
      if (result === "tensors") return wrapAll(returned);
      return returned;
    } catch (error) {
      throw asNativeError(error, describeTensors(args));
    }
  };
  return invoke as unknown as F;
}

function unwrap(value: unknown): unknown {
  return value instanceof Handle ? value.handle : value;
}

function wrapAll(returned: unknown): unknown {
  if (Array.isArray(returned)) return returned.map(wrapAll);
  return typeof returned === "number" ? wrap(returned) : returned;
}

/** Shapes of the tensors among the arguments, for messages. By now live tensors are their native numbers. */
function describeTensors(args: readonly unknown[]): string {
  const shapes = args.flat().flatMap((value) => {
    if (typeof value !== "number" || value < 16777216) return [];
    try {
      return [`${native().dtype(value)}[${native().shape(value).join(", ")}]`];
    } catch {
      return []; // a plain large number, or a tensor that the message already calls disposed
    }
  });
  return shapes.length > 0 ? ` (tensors: ${shapes.join(", ")})` : "";
}

const known = new Map<string, boolean>();

/** Whether the libtorch in use has an operator; names change between versions. */
export function hasOperator(name: string, overload = ""): boolean {
  const key = `${name}.${overload}`;
  let there = known.get(key);
  if (there === undefined) {
    const addon = native();
    try {
      addon.findOperator(name, overload);
      there = true;
    } catch {
      there = false;
    }
    known.set(key, there);
  }
  return there;
}
