import assert from "node:assert/strict";
import { test } from "node:test";
import { findPromptForm, promptForms } from "./prompt-forms.ts";
import { firstLine, maximumCaption, safeCaption, shorten, signatureOf } from "./prompt.ts";
import type { Prompt } from "./prompt.ts";

const whole = (prompt: Prompt): string => (prompt.kind === "text" ? prompt.shared + prompt.own : JSON.stringify(prompt.messages));

test("the forms are those of the paper and of its code, byte for byte", () => {
  const examples = ["1", "2", "3"].map((n) => ({ id: n, input: `s${n}`, output: `t${n}` }));
  const prompt = (name: string): string => whole(findPromptForm(name).render({ examples, caption: "q" }));
  assert.equal(prompt("paper"), "Rewrite the following image descriptions:\ns1 => t1\ns2 => t2\ns3 => t3\nq =>");
  assert.equal(
    prompt("laclip-code"),
    "write image captions differently,\n\n            s1 => t1\n\n            s2 => t2\n\n            s3 => t3\n\n            q =>",
  );
  assert.equal(prompt("laclip-code-plain"), "write image captions differently,\ns1 => t1\ns2 => t2\ns3 => t3\nq =>");
  assert.throws(() => findPromptForm("papr"), /no prompt form named "papr".*laclip-code/);
});

test("no two forms have one signature", () => {
  assert.equal(new Set(promptForms.map(signatureOf)).size, promptForms.length);
});

test("a caption can't break the prompt's form", () => {
  const nasty = "  two\r\nlines\u2028and => an arrow ==> here\ttab\u0000nul\u0085next  ";
  const { text, shortened } = safeCaption(nasty);
  assert.equal(text, "two lines and -> an arrow -> here tab nul next");
  assert.equal(shortened, false);
  assert.equal(safeCaption("half \ud83d a pair").text, "half \ufffd a pair");
  const lines = whole(findPromptForm("paper").render({ examples: [], caption: text })).split("\n");
  assert.equal(lines.length, 2);
  assert.equal(lines[1]!.split("=>").length, 2);
});

test("a caption of 10,000 characters is cut at a word edge, one long word between characters", () => {
  const long = safeCaption("word ".repeat(2000));
  assert.ok(long.shortened && long.text.length <= maximumCaption && long.text.endsWith("word"));
  assert.deepEqual(shorten("word word", 4), { text: "word", shortened: true });
  assert.deepEqual(shorten("word word", 9), { text: "word word", shortened: false });
  assert.deepEqual(shorten("aa\u{1f600}bb", 3), { text: "aa", shortened: true });
});

test("the answer is the first line of what the model added", () => {
  assert.equal(firstLine(" a dog runs \n\n            another => one"), "a dog runs");
  assert.equal(firstLine("\n a dog"), "");
  assert.equal(firstLine(""), "");
  assert.equal(firstLine(" a\r\nb"), "a");
});
