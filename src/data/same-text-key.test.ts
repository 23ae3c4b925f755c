import assert from "node:assert/strict";
import { test } from "node:test";
import { sameTextKey } from "./same-text-key.ts";

test("captions that differ in case, punctuation and spacing have one key; others have their own", () => {
  const same = ["A dog, running.", "a dog running", "  A DOG - running!", "a\u00a0dog\u3000\uff52unning"];
  assert.equal(new Set(same.map(sameTextKey)).size, 1);
  const others = ["a dog", "dog a running", "a dogrunning", "a dog runs", "!", "?", "", "\u72ac", "\u732b", "cafe", "caf\u00e9"];
  assert.equal(new Set([same[0]!, ...others].map(sameTextKey)).size, others.length + 1);
  assert.equal(sameTextKey("caf\u00e9"), sameTextKey("cafe\u0301"));
  // Numbers of a batch must be the same in every process.
  assert.equal(sameTextKey("a dog"), sameTextKey("A dog."));
});
