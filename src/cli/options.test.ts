import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidArgumentError } from "commander";
import { parseBytes } from "./options.ts";

test("amounts of bytes are read with the units that people write", () => {
  const cases = { "1": 1, "500000": 500_000, "400MB": 4e8, "1.5gb": 1.5e9, "512 MiB": 2 ** 29, "2kib": 2048 };
  for (const [text, bytes] of Object.entries(cases)) assert.equal(parseBytes(text), bytes, text);
  for (const text of ["", "0", "-5", "MB", "4 apples", "1e9", "0.1", "99999999TB"])
    assert.throws(() => parseBytes(text), InvalidArgumentError, text);
});
