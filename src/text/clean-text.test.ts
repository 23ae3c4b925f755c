import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "../support/index.ts";
import { cleanText } from "./clean-text.ts";
import { unescapeHtml } from "./html-entities.ts";

void test("each mode does what open_clip's does", () => {
  const text = "  A_big   “Dog”\u2003&amp;amp; its\u001c SchÃ¶ner_Ball!\t";
  assert.equal(cleanText(text), 'a_big "dog" & its schöner_ball!');
  assert.equal(cleanText(text, "whitespace"), 'A_big "Dog" & its Schöner_Ball!');
  assert.equal(cleanText(text, "canonicalize"), "a big dog its schöner ball");
});

void test("the short way for plain ASCII gives what the long way gives", () => {
  const texts = ["  two  Blanks ", " ", "", "a", "_", "~!@#$%^*()_+-=[]{}|;':\",./<>?`\\", "</w> <b>TAG</b>", "tail "];
  for (const mode of ["lower", "whitespace", "canonicalize"] as const) {
    for (const text of texts) {
      // A no-break space counts as a blank to both ways, but sends the text the long way.
      const long = cleanText(`${text}\u00a0end`, mode);
      const short = cleanText(`${text} end`, mode);
      assert.equal(short, long, `${mode}: ${JSON.stringify(text)}`);
    }
  }
});

void test("U+FEFF from a reference is kept, as Python's strip keeps it", () => {
  assert.equal(cleanText("&#xfeff;<b>&#xfeff;"), "\ufeff<b>\ufeff");
});

void test("references are decoded as Python decodes them, not as browsers do", () => {
  const cases: [text: string, expected: string][] = [
    ["&amp;lt;", "&lt;"],
    ["&notit; &notin;", "¬it; ∉"],
    ["&copy2020 &unknown; &; & &#; &#x;", "©2020 &unknown; &; & &#; &#x;"],
    ["&#39&#x27;&#X41;", "''A"],
    ["a&#1;&#11;&#31;&#127;&#159;b", "aŸb"],
    ["&#128;&#129;&#0;&#xD800;&#x110000;&#13;", "€\u0081\ufffd\ufffd\ufffd\r"],
    ["&#99999999999999999999999;", "\ufffd"],
    ["&#xfffe;&#x10ffff;&#xfdd0;", ""],
    ["&#9;&#10;&#12;", "\t\n\f"],
  ];
  for (const [text, expected] of cases) assert.equal(unescapeHtml(text), expected, text);
});

void test("an unknown mode is refused with the known ones", () => {
  assert.throws(
    () => cleanText("a", "lowr" as "lower"),
    (error) => error instanceof UsageError && /"lowr"/u.test(error.message) && /lower/u.test(error.mend!),
  );
});
