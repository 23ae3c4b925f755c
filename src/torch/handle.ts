/**
 * How long tensors live.
 *
 * Rule: a tensor made inside a scope dies at the scope's end unless the scope returns it (then it belongs to the scope around it) or
 * keeps it. Training loops nest scopes, so that memory is freed at known places: the garbage collector alone sees small objects where
 * gigabytes hang, and its finalizers run only when the event loop turns. For tensors that leave every scope it is the net: they are
 * accounted as external memory and released when collected.
 *
 * After the idea of `tf.tidy` (TensorFlow.js).
 */
import { LaclipError, UsageError } from "../support/index.ts";
import { type NativeHandle, native } from "./native.ts";

/** Thrown when a disposed tensor is used. */
export class DisposedError extends LaclipError {}

interface Scope {
  readonly parent: Scope | undefined;
  readonly made: Handle[];
}

let current: Scope | undefined;

const collected = new FinalizationRegistry<NativeHandle>((handle) => native().release(handle));

/** Owner of one native tensor. */
export class Handle {
  #handle: NativeHandle;
  /** True when no scope owns this tensor: it lives until it is disposed of or collected. */
  #kept = false;

  constructor(handle: NativeHandle) {
    this.#handle = handle;
    if (current === undefined) this.#keep();
    else current.made.push(this);
  }

  /** The number that the native layer knows this tensor by. @throws DisposedError */
  get handle(): NativeHandle {
    if (this.#handle === 0) {
      throw new DisposedError("This tensor was disposed of, by `dispose()` or at the end of the scope that made it.", {
        mend: "Return it from the scope, or call `keep()` on it inside.",
      });
    }
    return this.#handle;
  }

  get disposed(): boolean {
    return this.#handle === 0;
  }

  /** Frees the tensor now. Calling it twice is harmless. */
  dispose(): void {
    if (this.#handle === 0) return;
    if (this.#kept) collected.unregister(this);
    native().release(this.#handle);
    this.#handle = 0;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Takes the tensor out of all scopes: it lives until it is disposed of or collected. Returns itself. */
  keep(): this {
    if (this.disposed || !this.#kept) this.#keep();
    return this;
  }

  #keep(): void {
    const handle = this.handle;
    this.#kept = true;
    native().account(handle);
    collected.register(this, handle, this);
  }

  /** Ends the given tensors that are still owned by the scope, in one native call. */
  static endAll(made: readonly Handle[], survivors: ReadonlySet<Handle> | undefined, parent: Scope | undefined): void {
    if (buffer.length < made.length) buffer = new Float64Array(made.length * 2);
    let count = 0;
    for (const tensor of made) {
      if (tensor.#handle === 0 || tensor.#kept) continue;
      if (survivors?.has(tensor)) {
        if (parent === undefined) tensor.#keep();
        else parent.made.push(tensor);
        continue;
      }
      buffer[count++] = tensor.#handle;
      tensor.#handle = 0;
    }
    native().releaseMany(buffer, count);
  }
}

let buffer = new Float64Array(256);

/**
 * Runs `body`; frees every tensor made in it except those in its result (a tensor, or arrays, Maps and plain objects of tensors) and
 * those that were kept. Frees all when `body` throws.
 * @throws UsageError when `body` is asynchronous: other work would run inside its scope. Put scopes between the awaits.
 */
export function scope<T>(body: () => T): T {
  const own: Scope = { parent: current, made: [] };
  current = own;
  let survivors: Set<Handle> | undefined;
  try {
    const result = body();
    if (result instanceof Promise) throw new UsageError("scope(): the body must not be asynchronous. Put scopes between the awaits.");
    if (result !== undefined) survivors = tensorsIn(result);
    return result;
  } finally {
    current = own.parent;
    Handle.endAll(own.made, survivors, own.parent);
  }
}

function tensorsIn(value: unknown, found = new Set<Handle>()): Set<Handle> {
  if (value instanceof Handle) found.add(value);
  else if (Array.isArray(value)) for (const item of value) tensorsIn(item, found);
  else if (value instanceof Map) for (const item of value.values()) tensorsIn(item, found);
  else if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) tensorsIn(item, found);
  }
  return found;
}
