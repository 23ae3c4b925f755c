import assert from "node:assert/strict";
import { test } from "node:test";
import { captionInAnswer, captionLines, declinesTask } from "./chat-answer.ts";

const caption = "Two dogs race along a sandy beach at dusk.";

test("what chat models put around a caption is taken off", () => {
  const answers = [
    caption,
    `  ${caption}  \n`,
    `"${caption}"`,
    `\u201c${caption}\u201d`,
    `\u00ab${caption}\u00bb`,
    `'${caption}'`,
    `\`${caption}\``,
    `**${caption}**`,
    `*"${caption}"*`,
    `- ${caption}`,
    `\u2022 ${caption}`,
    `1. ${caption}`,
    `1) "${caption}"`,
    `> ${caption}`,
    `Caption: ${caption}`,
    `caption: "${caption}"`,
    `New caption: ${caption}`,
    `Rewritten caption: "${caption}"`,
    `**Rewritten caption:** ${caption}`,
    `**Caption**: ${caption}`,
    `1. **Caption:** "${caption}"`,
    `Output: ${caption}`,
    `ChatGPT-style caption: ${caption}`,
    `Option 1 - ${caption}`,
    `Here is the rewritten caption: ${caption}`,
    `Here's a more vivid version:\n\n"${caption}"`,
    `Here\u2019s the caption rewritten in fewer than thirty words:\n${caption}`,
    `Sure! Here is a rewritten version of the caption:\n\n${caption}`,
    `Sure, here you go: ${caption}`,
    `Certainly!\n\n${caption}\n\nLet me know if you'd like another version.`,
    `Of course. ${caption}`,
    `${caption}\n\n(Note: I kept it under thirty words.)`,
    `${caption}\n\nI hope this helps!`,
    `Original caption: dogs on beach\nRewritten caption: ${caption}`,
    `The original caption: dogs on beach\n\n**Rewritten:**\n${caption}`,
    `\`\`\`\n${caption}\n\`\`\``,
    `\`\`\`text\n${caption}\n\`\`\``,
    `\`\`\`json\n{"caption": "${caption}"}\n\`\`\``,
    `{"caption": "${caption}"}`,
    JSON.stringify(caption),
    `<think>\nThe user wants a caption.\n"A draft."\n</think>\n\n${caption}`,
    `I should keep it short.\n</think>\n${caption}`,
    `<thinking>hm</thinking>${caption}`,
    `${caption}<|im_end|>`,
    `${caption}</s>`,
    `${caption}<end_of_turn>\n<|assistant|>`,
    `### Caption\n${caption}`,
    `${caption}\r\n`,
  ];
  for (const answer of answers) assert.deepEqual(captionLines(answer), [caption], JSON.stringify(answer));
});

test("a caption that looks like packaging stays whole", () => {
  const captions = [
    "Great dogs on a beach.",
    "Sure-footed goats on a cliff",
    "The dog's ball and the cats' basket",
    'A sign says "closed" and another says "open"',
    '"Closed" stands on the door of a shop called "Open"',
    "Here is a dog in a hat",
    "I can't believe how large my cat is",
    "I'm sorry for the mess in my garden",
    "Notes and pens on a desk",
    "Please mind the gap: a sign in the station",
    "5 people in a boat",
    "50.5 metres of rope",
    "Sunset: the harbour of Oslo",
    "{a logo} of curly braces",
    "An option for small gardens - raised beds",
    "Text on an old wall",
    "Okapi and zebra in a zoo",
  ];
  for (const one of captions) assert.equal(captionInAnswer(one), one);
});

test("several versions come as several lines, the first is the caption", () => {
  const answer = 'Here are three options:\n\n1. A dog runs on sand.\n2. **A hound sprints by the sea.**\n\n3. "Paws on a beach."\n';
  assert.deepEqual(captionLines(answer), ["A dog runs on sand.", "A hound sprints by the sea.", "Paws on a beach."]);
  assert.equal(captionInAnswer(answer), "A dog runs on sand.");
});

test("an answer without a caption is empty", () => {
  const nothing = [
    "",
    "\n \n",
    "Sure!",
    "Here is the rewritten caption:",
    "<think>The user wants a caption with fewer than",
    "```\n```",
    "\ud83d",
    "***",
    "\u0000",
  ];
  for (const answer of nothing) {
    const read = captionInAnswer(answer);
    assert.ok(read === "" || !/[\p{L}\p{N}]/u.test(read), JSON.stringify([answer, read]));
  }
});

test("a model that declines is told from a caption in the first person", () => {
  const declined = [
    "I'm sorry, but I can't help with rewriting this caption.",
    "I apologize, but I cannot assist with that request.",
    "As an AI language model, I am not able to see images.",
    "Please provide the caption that you would like me to rewrite.",
    "I can\u2019t comply with that request.",
    "Unfortunately, I am not able to rewrite it.",
  ];
  const captions = [
    "I can't believe how large my cat is",
    "I'm sorry for the mess in my garden",
    "Unfortunately it rained",
    "Please give way: a sign",
  ];
  for (const line of declined) assert.ok(declinesTask(captionInAnswer(line)), line);
  for (const line of captions) assert.ok(!declinesTask(line), line);
});

test("rubbish of any length is read in bounded steps", () => {
  for (const piece of ["**", '"', "1. ", "Caption: ", "<think>", "here is ", "sure! ", "[", "{", "\n", "((", "> "]) {
    const answer = piece.repeat(200_000 / piece.length) + caption;
    assert.equal(typeof captionInAnswer(answer), "string", piece);
  }
});
