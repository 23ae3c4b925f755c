/**
 * HTML character references, decoded as Python's `html.unescape` does, since the reference tokenizer cleans captions with it.
 *
 * It differs from what browsers do for numbers only: references to control characters and noncharacters vanish instead of being kept.
 */
import { createRequire } from "node:module";

type Decoder = typeof import("entities/decode");
let decoder: Decoder | undefined;

/** Loaded only when a caption has a named reference: few have one, and its tables take a while to unpack. */
function decodeHTML(reference: string): string {
  decoder ??= createRequire(import.meta.url)("entities/decode") as Decoder;
  return decoder.decodeHTML(reference);
}

/** A reference as Python sees it: the name may be followed by anything up to 32 characters, of which the longest known start counts. */
const reference = /&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu;

/** `text` with named and numeric character references replaced once; unknown names stay as they are. */
export function unescapeHtml(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(reference, (whole, body: string) => (body.startsWith("#") ? fromNumber(body) : decodeHTML(whole)));
}

function fromNumber(body: string): string {
  const hexadecimal = body[1] === "x" || body[1] === "X";
  const digits = body.slice(hexadecimal ? 2 : 1);
  // parseInt stops at the semicolon; numbers too long for a double become Infinity, which is out of range as well.
  const code = Number.parseInt(digits, hexadecimal ? 16 : 10);
  if (code === 0x0d) return "\r";
  const named = windows1252.get(code);
  if (named !== undefined) return named;
  if (code === 0 || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return "\uFFFD";
  return isDropped(code) ? "" : String.fromCodePoint(code);
}

/** Numbers that HTML reads as bytes of Windows-1252; the five bytes without a character there keep their control character. */
const windows1252 = new Map(
  Array.from("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ", (character, index) => [0x80 + index, character] as const),
);

/** Control characters other than tab, line feed and form feed, and the noncharacters of every plane. */
function isDropped(code: number): boolean {
  if (code < 0x20) return code !== 0x09 && code !== 0x0a && code !== 0x0c;
  return (code >= 0x7f && code <= 0x9f) || (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) === 0xfffe;
}
