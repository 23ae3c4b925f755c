import assert from "node:assert/strict";
import { test } from "node:test";
import { isUsable } from "../data/index.ts";
import { checkRewrite, normalise } from "./checks.ts";

const options = {
  caption: "a brown dog on green grass",
  knownOutputs: new Set([normalise("A cat sleeps on a sofa.")]),
  finish: "stop",
  shortened: false,
};
const flags = (rewrite: string, change: Partial<typeof options> = {}): readonly string[] =>
  checkRewrite(rewrite, { ...options, ...change }).flags;

test("a good rewrite has no flag", () => {
  assert.deepEqual(checkRewrite("A dog with brown fur stands in the grass.", options), {
    text: "A dog with brown fur stands in the grass.",
    flags: [],
  });
});

test("what can't serve as a caption is rejected", () => {
  for (const [rewrite, flag] of [
    ["", "rejected:too-short"],
    ["dog", "rejected:too-short"],
    ["a dog => another dog in grass", "rejected:arrow"],
    ["a dog\u0007 in the grass", "rejected:control-characters"],
    ["a dog \ufffd in the grass", "rejected:control-characters"],
    ["a cat sleeps, on a Sofa", "rejected:copies-example"],
  ] as const) {
    assert.ok(flags(rewrite).includes(flag), `${JSON.stringify(rewrite)} gave ${flags(rewrite).join()}`);
    assert.ok(!isUsable({ flags: flags(rewrite) }));
  }
  assert.doesNotMatch(checkRewrite("a dog\u0007 in\u0000 the grass", options).text, /\p{Cc}/u);
});

test("what is conspicuous is flagged and stays usable", () => {
  assert.deepEqual(flags("A brown dog, on green GRASS!"), ["same-as-caption"]);
  assert.deepEqual(flags("a dog"), ["length-ratio"]);
  assert.deepEqual(flags("a dog ".repeat(30)), ["length-ratio"]);
  assert.deepEqual(flags("a dog on some grass", { finish: "length", shortened: true }), ["cut-at-limit", "caption-shortened"]);
  assert.ok(isUsable({ flags: ["length-ratio", "cut-at-limit"] }));
});
