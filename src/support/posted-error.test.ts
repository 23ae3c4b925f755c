import assert from "node:assert/strict";
import { test } from "node:test";
import * as errors from "./errors.ts";
import { LaclipError, fromPosted, toPosted } from "./index.ts";

test("every class of errors comes over from a thread as itself, with what to do and its exit code", () => {
  const classes = Object.values(errors).filter(
    (value): value is typeof LaclipError =>
      value === LaclipError || (typeof value === "function" && value.prototype instanceof LaclipError),
  );
  assert.ok(classes.length >= 8);
  for (const Kind of classes) {
    const before = new Kind("what was wrong", { mend: "what to do" });
    const after = fromPosted(structuredClone(toPosted(before)));
    assert.ok(after instanceof Kind, Kind.name);
    assert.deepEqual(told(after), told(before));
  }
});

function told({ name, message, mend, exitCode }: LaclipError): object {
  return { name, message, mend, exitCode };
}

test("a class that another room has made of one comes over as that", () => {
  class Busy extends errors.DataError {}
  assert.equal((fromPosted(toPosted(new Busy("held"))) as LaclipError).exitCode, errors.exitCodes.data);
});

test("a defect comes over as one, with the stack of its thread", () => {
  const before = new TypeError("x is not a function");
  const after = fromPosted(structuredClone(toPosted(before)));
  assert.ok(!LaclipError.is(after));
  assert.equal(after.stack, before.stack);
  assert.equal(fromPosted(toPosted("a text")).message, "a text");
});
