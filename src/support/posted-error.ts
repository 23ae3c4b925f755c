/**
 * Errors on their way between threads. What a thread posts is copied, and of an error class only `Error` survives that: with it would go
 * who must act, and so the exit code.
 */
import {
  DataError,
  DivergedError,
  EndpointError,
  InterruptedError,
  LaclipError,
  ModelFormatError,
  NativeError,
  UsageError,
} from "./errors.ts";

/** An error in a form that survives the way between threads. */
export interface PostedError {
  name: string;
  message: string;
  mend: string | undefined;
  stack: string | undefined;
  /** False for defects of the program. */
  expected: boolean;
}

const kinds = { DataError, DivergedError, EndpointError, InterruptedError, ModelFormatError, NativeError, UsageError };

/** For `postMessage`. */
export function toPosted(error: unknown): PostedError {
  const expected = LaclipError.is(error);
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return { name: classOf(error), message, stack, expected, mend: expected ? error.mend : undefined };
}

/** Of classes that further ones were made of elsewhere, the one that is known here. */
function classOf(error: unknown): string {
  return Object.entries(kinds).find(([, Kind]) => error instanceof Kind)?.[0] ?? (error as Partial<Error> | undefined)?.name ?? "Error";
}

/** The error again, of the class that it had; one that is a defect of the program keeps the stack of its thread. */
export function fromPosted({ name, message, mend, stack, expected }: PostedError): Error {
  const Kind = name in kinds ? kinds[name as keyof typeof kinds] : LaclipError;
  const error = expected ? new Kind(message, mend === undefined ? {} : { mend }) : new Error(message);
  if (!expected && stack !== undefined) error.stack = stack;
  return error;
}
