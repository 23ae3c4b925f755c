/**
 * The caption in what a chat model said. Asked for a caption and nothing else, such models still greet, explain, number, quote, offer
 * several versions, or think aloud; all this is taken off, and what is left is judged by the checks like any rewrite.
 */

/** Thinking aloud; where the beginning stands in the chat template, only its end is in the answer. */
const thought = /^[\s\S]*<\/(?:think|thinking|thought|reasoning)>/i;
/** Thinking that the limit of tokens cut off: there is no answer behind it. */
const openThought = /<(?:think|thinking|thought|reasoning)>[\s\S]*$/i;
const controlToken = /<[|\uff5c][^|\uff5c<>]{1,40}[|\uff5c]>|<\/?s>|<(?:end_of_turn|eos)>|\[\/?INST\]/gi;
/** No caption begins behind so many characters; the bound keeps a server that sends rubbish from costing time. */
const longestAnswer = 4000;
const codeFence = /^\s*```[\w-]*\s*$/;

/** "Great dog on a beach" is no greeting: one is followed by a stop, or by nothing. */
const politeness =
  /^(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great|no problem|(?:i['\u2019]?d be )?happy to help|got it)(?:[!.,:;\u2026\u2013\u2014]+(?:\s+|$)|$)/i;
const kinds = "caption|description|rewrite|rewriting|version|rephrasing|paraphrase|option|alternative|answer|output|result|text";
/** "Here is the rewritten caption:", with the colon and the caption behind it, or on the next line. */
const announcement = new RegExp(String.raw`^(?:here(?:['\u2019]s| is| are| you go)|below (?:is|are)|the following)\b[^:]{0,100}:\s*`, "i");
const announcesCaption = new RegExp(String.raw`\b(?:${kinds})s?\b|you go`, "i");
/** "Rewritten caption:", "**Output**:", "Option 2 -", and a line that says "Caption" and no more. */
const label = new RegExp(
  String.raw`^[*_]{0,3}(?:(?:new|rewritten|revised|rephrased|improved|merged|combined|final|image|vivid|the|one|your|my|[a-z]+[-\u2011]style) ){0,3}` +
    String.raw`(?:${kinds}|rewritten|merged)s?(?: ?#?\d{1,2}\s+[-\u2013\u2014]\s|(?: ?#?\d{1,2})?[*_]{0,3}(?:\s*:[*_]{0,3}|$))\s*`,
  "i",
);
/** What is about the task and not a part of the answer. */
const originalLabel = /^[*_#\s]*(?:the )?(?:original|input|source|alt[- ]?text|machine caption|given caption)\b[^:]{0,40}:/i;
const remark =
  /^[([*_]*(?:(?:note|word count|explanation|reasoning|changes(?: made)?)\b[^:]{0,20}:|(?:please )?let me know (?:if|what|how|whether)|feel free to|(?:i )?hope (?:this|that|it) (?:helps|works|fits|meets|captures)|(?:would you like|do you want) me|is there anything else)/i;
const bullet = /^(?:[-*\u2022\u2013\u2014>]\s+|#{1,6}\s+|\(?\d{1,2}[.)]\s+|\(?[a-e][.)]\s+)/;
const quotes = [
  ['"', '"'],
  ["\u201c", "\u201d"],
  ["\u201e", "\u201c"],
  ["\u00ab", "\u00bb"],
  ["'", "'"],
  ["\u2018", "\u2019"],
  ["`", "`"],
  ["**", "**"],
  ["__", "__"],
  ["*", "*"],
  ["_", "_"],
] as const;

/** A model that declines speaks of the task, which a caption in the first person does not. */
const declines =
  /^(?:(?:i['\u2019]?m|i am|we['\u2019]re) (?:very |so |really )?sorry|sorry|i apologi[sz]e|unfortunately|as an? (?:ai|language model)|i (?:can['\u2019]?t|cannot|can not|won['\u2019]t|am unable|am not able|don['\u2019]t see)|please (?:provide|share|give)|it (?:looks|seems) like)\b/i;
const ofTheTask =
  /\b(?:rewrit\w+|rephras\w+|captions?|request|assist|help with|provide|comply|image descriptions?|language model|as an ai|content)\b/i;

/**
 * The lines of an answer that may be captions, without what models put around them, in order; none where the model was cut off while
 * thinking.
 */
export function captionLines(answer: string): string[] {
  const spoken = answer.replace(thought, "").replace(openThought, "").slice(0, longestAnswer).replace(controlToken, "\n");
  const found: string[] = [];
  for (const raw of (fromJson(spoken) ?? spoken).split(/\r\n|[\n\r\u0085\u2028\u2029\v\f]/)) {
    if (codeFence.test(raw)) continue;
    const line = plainLine(raw);
    if (line !== "") found.push(line);
  }
  return found;
}

/** The caption in a chat model's answer: one line, "" where there is none. */
export function captionInAnswer(answer: string): string {
  return captionLines(answer)[0] ?? "";
}

/** Whether a model says in this line that it will not, or can't, do what it was asked for. */
export function declinesTask(line: string): boolean {
  return declines.test(line) && ofTheTask.test(line);
}

/** A line without bullet, label, announcement and quotes; "" for a line that is nothing else. */
function plainLine(raw: string): string {
  let line = raw.trim();
  // Each of these may stand inside another: `1. **Caption:** "..."`.
  for (let before = ""; before !== line;) {
    before = line;
    line = unquoted(line.replace(bullet, "")).trim();
    if (originalLabel.test(line) || remark.test(line)) return "";
    line = afterAnnouncement(line.replace(politeness, "")).replace(label, "");
  }
  // "My rewrite is the following:" leads to the next line.
  return line.endsWith(":") && line.length < 120 ? "" : line;
}

function afterAnnouncement(line: string): string {
  const [head = ""] = announcement.exec(line) ?? [];
  return head !== "" && announcesCaption.test(head) ? line.slice(head.length) : line;
}

/** Emphasis and quotes count only where they hold the whole line. */
function unquoted(line: string): string {
  for (const [open, close] of quotes) {
    if (line.length < open.length + close.length + 1 || !line.startsWith(open) || !line.endsWith(close)) continue;
    const inner = line.slice(open.length, -close.length);
    if (!inner.includes(open) && !inner.includes(close)) return inner;
    // 'The dog's ball': an apostrophe inside is no quote.
    if (close === "'" && !/(?:^|\s)'|'(?:\s|$)/.test(inner)) return inner;
    if (close === "\u2019" && !inner.includes("\u2018")) return inner;
  }
  return line;
}

/** The one text in an answer that is JSON; undefined for any other answer. */
function fromJson(answer: string): string | undefined {
  const body = answer.replace(/^\s*```[\w-]*\s*|\s*```\s*$/g, "").trim();
  if (!/^[{["]/.test(body)) return undefined;
  try {
    const value: unknown = JSON.parse(body);
    const texts = typeof value === "object" && value !== null ? Object.values(value) : [value];
    return texts.length === 1 && typeof texts[0] === "string" ? texts[0] : undefined;
  } catch {
    return undefined;
  }
}
