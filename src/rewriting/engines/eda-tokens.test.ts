import assert from "node:assert/strict";
import { test } from "node:test";
import { readTokens } from "./eda-tokens.ts";

const cores = (caption: string): string[] => readTokens(caption).map(({ core }) => core);
const written = (caption: string): string =>
  readTokens(caption)
    .map(({ before, core, after }) => before + core + after)
    .join(" ");

test("punctuation, possessives and lone signs are not part of a word", () => {
  assert.deepEqual(cores(`"The dog's toy," - said (the) men’s club & friends.`), [
    "The",
    "dog",
    "toy",
    "said",
    "the",
    "men",
    "club",
    "friends",
  ]);
  assert.deepEqual(cores("it's Sam's T-shirt, 12% off: <PERSON>!"), ["it's", "Sam", "T-shirt", "12", "off", "<PERSON>"]);
  assert.deepEqual(cores("- $ !"), []);
});

test("written out again, tokens are the caption with single spaces", () => {
  for (const caption of ["- a dog's  toy -- (red), it's 'nice' ...", "Café  №5 & Bar", "… and so on", "a , b"])
    assert.equal(written(caption), caption.replace(/\s+/g, " "));
});
