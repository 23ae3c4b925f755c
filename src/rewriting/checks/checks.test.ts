import assert from "node:assert/strict";
import { test } from "node:test";
import { isUsable } from "../../data/index.ts";
import { UsageError } from "../../support/index.ts";
import { rewriteChecks } from "./check-table.ts";
import { checkRewrite, defaultChecks, normalise, recordChecks, setCheck } from "./checks.ts";
import type { CheckSettings } from "./checks.ts";

const options = {
  caption: "a brown dog on green grass",
  knownOutputs: new Set([normalise("A cat sleeps on a sofa.")]),
  finish: "stop",
  shortened: false,
};
const flags = (rewrite: string, change: Partial<typeof options> = {}, settings?: CheckSettings): readonly string[] =>
  checkRewrite(rewrite, { ...options, ...change }, settings).flags;

test("a good rewrite has no flag", () => {
  assert.deepEqual(checkRewrite("A dog with brown fur stands in the grass.", options), {
    text: "A dog with brown fur stands in the grass.",
    flags: [],
  });
});

const long = "a dog on grass " + Array.from({ length: 80 }, (_, i) => `word${String.fromCharCode(97 + (i % 26))}${i}`).join(" ");

/** Caption, rewrite, and whether the check finds something. */
const cases: readonly (readonly [check: string, caption: string, rewrite: string, found: boolean])[] = [
  ["too-short", "a dog", "", true],
  ["too-short", "a dog", "   ", true],
  ["too-short", "a dog", "dog", true],
  ["too-short", "a dog", "犬がいる", true],
  ["too-short", "a dog", "a dog", false],
  ["arrow", "a dog", "a dog => another dog in grass", true],
  ["arrow", "a dog", "a dog -> another dog in grass", false],
  ["control-characters", "a dog", "a dog\u0007 in the grass", true],
  ["control-characters", "a dog", "a dog \ufffd in the grass", true],
  ["control-characters", "a dog", "a dög in the gräss 🐕", false],
  ["copies-example", "a dog", "a cat sleeps, on a Sofa", true],
  ["copies-example", "a dog", "a cat sleeps on a red sofa", false],
  ["chatter", "a dog on grass", "Sure! Here is a rewritten caption: a dog on grass", true],
  ["chatter", "a dog on grass", "Here's the rewritten image caption: a dog", true],
  ["chatter", "a dog on grass", "Caption: a dog on grass", true],
  ["chatter", "a dog on grass", "I'm sorry, but I can't see images.", true],
  ["chatter", "a dog on grass", "As an AI language model I do not see the dog", true],
  ["chatter", "a dog on grass", "Here is a dog on the grass", false],
  ["chatter", "a dog on grass", "A surefooted dog on certain grass", false],
  ["chatter", "Sure, here is a rewritten caption", "Sure, here is another version", false],
  ["repetitive", "a dog", "a dog a dog a dog a dog", true],
  ["repetitive", "a dog", "the the the the the the", true],
  ["repetitive", "a dog", "no no no", false],
  ["repetitive", "a dog", "a dog and a cat and a bird on the grass", false],
  ["other-script", "a dog on grass", "一只棕色的狗 在 绿色的草地上", true],
  ["other-script", "a dog on grass", "Собака на траве", true],
  ["other-script", "a dog on grass", "a dog named Собака on grass", false],
  ["other-script", "一只棕色的狗在草地上", "绿色草地上的 一只狗", false],
  ["other-script", "犬が 芝生にいる", "芝生の上の イヌ", false],
  ["other-script", "1234", "a dog on grass", false],
  ["same-as-caption", "a brown dog on green grass", "A brown dog, on green GRASS!", true],
  ["same-as-caption", "a brown dog on green grass", "on green grass a brown dog", false],
  ["length-ratio", "a brown dog on green grass", "a dog", true],
  ["length-ratio", "a brown dog on green grass", "a brown dog ".repeat(12), true],
  ["length-ratio", "a brown dog on green grass", "a brown dog on grass", false],
  ["few-shared-words", "a brown dog on green grass", "the king of France was happy", true],
  ["few-shared-words", "dogs running in the grasses", "A dog runs over grass", false],
  ["few-shared-words", "it is what it is", "whatever one may say", false],
  ["few-shared-words", "an owner's dog", "the owner with dogs", false],
  ["numbers-lost", "3 dogs and 12 cats", "some dogs and cats", true],
  ["numbers-lost", "3 dogs and 12 cats", "three dogs and a dozen cats", false],
  ["numbers-lost", "two dogs", "a pair of dogs", false],
  ["numbers-lost", "21 candles", "twenty-one candles", false],
  ["numbers-lost", "a 1,200 year old tree", "a tree of 1200 years", false],
  ["numbers-lost", "two thousand birds", "2000 birds", false],
  ["numbers-lost", "1 dog", "a dog", false],
  ["numbers-lost", "a dog in 1999", "a dog in 1998", true],
  ["numbers-invented", "dogs on grass", "four dogs on grass", true],
  ["numbers-invented", "4 dogs on grass", "four dogs on grass", false],
  ["numbers-invented", "a jean jacket", "a pair of jeans, one of them blue", false],
  ["numbers-invented", "<PERSON> at home", "<PERSON2> at home", false],
  ["names-lost", "a bridge in Prague at night", "a bridge at night", true],
  ["names-lost", "a bridge in Prague at night", "Prague's bridge at night", false],
  ["names-lost", "Beautiful Red Dress For Summer", "a dress", false],
  ["names-lost", "BUY NOW: RED DRESS", "a dress to buy", false],
  ["names-invented", "a bridge at night", "a bridge in Prague at night", true],
  ["names-invented", "a bridge in prague at night", "The bridge of Prague. Night falls.", false],
  ["names-invented", "a bridge at night", "The Old Bridge At Night", false],
  ["names-invented", "a bridge at night", "I see a bridge at night", false],
  ["placeholder-lost", "<PERSON> at a concert", "a singer at a concert", true],
  ["placeholder-lost", "<PERSON> at a concert", "a concert of <PERSON>", false],
  ["placeholder-invented", "a singer at a concert", "<PERSON> sings at a concert", true],
  ["placeholder-invented", "5 < 6 and <b>", "five is less than six <b>", false],
  ["too-many-tokens", "a dog", long, true],
  ["too-many-tokens", "a dog", "𓀀𓁀𓂀".repeat(12), true],
  ["too-many-tokens", "a dog", "a dog ".repeat(36), false],
];

for (const { name } of rewriteChecks.filter((check) => cases.some(([of]) => of === check.name))) {
  test(`the check ${name} finds what it is for, and nothing else`, () => {
    const { verdict } = defaultChecks.get(name)!;
    const flag = verdict === "reject" ? `rejected:${name}` : name;
    const own = cases.filter(([check]) => check === name);
    assert.ok(new Set(own.map(([, , , found]) => found)).size === 2, "a case of each kind");
    for (const [, caption, rewrite, found] of own) {
      const raised = flags(rewrite, { caption });
      assert.equal(raised.includes(flag), found, `${JSON.stringify(rewrite)} for ${JSON.stringify(caption)} gave ${raised.join()}`);
    }
  });
}

test("flags come in one order, and those that do not begin with rejected: leave a text usable", () => {
  assert.deepEqual(flags("a dog on some grass", { finish: "length", shortened: true }), ["cut-at-limit", "caption-shortened"]);
  assert.ok(isUsable({ flags: ["length-ratio", "cut-at-limit"] }));
  assert.ok(!isUsable({ flags: flags("dog") }));
  assert.deepEqual(checkRewrite("a dog on grass", { ...options, duplicate: true }).flags, ["duplicate"]);
});

test("what a second caption says is not made up", () => {
  const second = "12 visitors from Oslo and <PERSON> at the zoo";
  const rewrite = "twelve visitors from Oslo with <PERSON> and a brown dog on green grass";
  assert.deepEqual(checkRewrite(rewrite, { ...options, second }).flags, []);
  assert.deepEqual(flags(rewrite), ["numbers-invented", "names-invented", "placeholder-invented"]);
});

test("control characters become spaces in what is kept", () => {
  assert.equal(checkRewrite("a dog\u0007\u0000in\tthe grass\u0000", options).text, "a dog in the grass");
});

test("texts that no writer would think of are looked at without a failure", () => {
  const nasty = [
    "\ud800",
    "👩‍👩‍👧‍👦 👩‍👩‍👧‍👦",
    "\u202e drawkcab",
    "a".repeat(50_000),
    "<".repeat(5000),
    "a\u0301\u0323".repeat(500),
    "[A".repeat(2000),
    "1,".repeat(5000),
  ];
  for (const text of nasty) {
    for (const caption of ["a dog", text]) assert.ok(Array.isArray(flags(text, { caption })));
    assert.ok(Array.isArray(flags("a dog", { caption: text })));
  }
});

test("a check can be made stricter, laxer, or switched off", () => {
  const set = (...assignments: string[]): CheckSettings => assignments.reduce(setCheck, defaultChecks);
  assert.deepEqual(flags("a dog"), ["length-ratio"]);
  assert.deepEqual(flags("a dog", {}, set("length-ratio=0.1..4")), []);
  assert.deepEqual(flags("a dog", {}, set("length-ratio=off")), []);
  assert.deepEqual(flags("a dog", {}, set("length-ratio=reject")), ["rejected:length-ratio"]);
  assert.deepEqual(flags("a dog", {}, set("length-ratio=off", "length-ratio=flag", "too-short=3")), ["rejected:too-short", "length-ratio"]);
  assert.deepEqual(flags("a dog in Prague, on grass", {}, set("names-invented=1")), []);
  assert.deepEqual(flags("a dog ".repeat(5), {}, set("repetitive=0.1", "too-many-tokens=11")), ["too-many-tokens"]);
  // The defaults are nobody's to change.
  assert.equal(defaultChecks.get("too-short")!.least, 2);
});

test("a setting that says nothing is refused, with what it could be", () => {
  for (const [assignment, expected] of [
    ["length-ratio", /NAME=VALUE/],
    ["lenght-ratio=off", /no check "lenght-ratio"/],
    ["length-ratio=0.5", /two numbers that rise/],
    ["length-ratio=4..1", /two numbers that rise/],
    ["too-short=few", /reject, flag or off, or a number/],
    ["too-short=-1", /reject, flag or off, or a number/],
    ["few-shared-words=2", /a share, 0 to 1/],
    ["other-script=1.5", /a share, 0 to 1/],
    ["arrow=0.5", /expected reject, flag or off\./],
    ["=off", /no check ""/],
  ] as const) {
    assert.throws(
      () => setCheck(defaultChecks, assignment),
      (error) => error instanceof UsageError && expected.test(error.message),
      assignment,
    );
  }
});

test("settings are written down as a manifest keeps them", () => {
  const record = recordChecks(setCheck(setCheck(defaultChecks, "length-ratio=0.5..2"), "repetitive=off"));
  assert.deepEqual(record["length-ratio"], { verdict: "flag", limit: [0.5, 2] });
  assert.deepEqual(record["repetitive"], { verdict: "off" });
  assert.deepEqual(record["arrow"], { verdict: "reject" });
  assert.equal(Object.keys(record).length, rewriteChecks.length);
});
