import assert from "node:assert/strict";
import { test } from "node:test";
import { maximumCaption, readCompletion, renderPrompt, safeCaption, shorten } from "./prompt.ts";

test("the prompt is the paper's, byte for byte", () => {
  const examples = ["1", "2", "3"].map((n) => ({ id: n, input: `s${n}`, output: `t${n}` }));
  assert.equal(
    renderPrompt(examples, "q"),
    "write image captions differently,\n\n            s1 => t1\n\n            s2 => t2\n\n            s3 => t3\n\n            q =>",
  );
});

test("a caption can't break the prompt's form", () => {
  const nasty = "  two\r\nlines\u2028and => an arrow ==> here\ttab\u0000nul\u0085next  ";
  const { text, shortened } = safeCaption(nasty);
  assert.equal(text, "two lines and -> an arrow -> here tab nul next");
  assert.equal(shortened, false);
  assert.equal(safeCaption("half \ud83d a pair").text, "half \ufffd a pair");
  const lines = renderPrompt([], safeCaption(nasty).text).split("\n");
  assert.equal(lines.length, 3);
  assert.equal(lines[2]!.split("=>").length, 2);
});

test("a caption of 10,000 characters is cut at a word edge, one long word between characters", () => {
  const long = safeCaption("word ".repeat(2000));
  assert.ok(long.shortened && long.text.length <= maximumCaption && long.text.endsWith("word"));
  assert.deepEqual(shorten("word word", 4), { text: "word", shortened: true });
  assert.deepEqual(shorten("word word", 9), { text: "word word", shortened: false });
  assert.deepEqual(shorten("aa\u{1f600}bb", 3), { text: "aa", shortened: true });
});

test("the answer is the first line of what the model added", () => {
  assert.equal(readCompletion(" a dog runs \n\n            another => one"), "a dog runs");
  assert.equal(readCompletion("\n a dog"), "");
  assert.equal(readCompletion(""), "");
  assert.equal(readCompletion(" a\r\nb"), "a");
});
