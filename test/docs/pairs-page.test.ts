/** docs/pairs.md shows files that are accepted and prompts that are sent. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { findPromptForm, promptForms, readPairsFile } from "../../src/rewriting/index.ts";
import type { ChatMessage } from "../../src/rewriting/index.ts";
import { fences, root } from "./pages.ts";

const page = readFileSync(join(root, "docs", "pairs.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "laclip-pairs-page-"));
after(() => rmSync(folder, { recursive: true }));
const [file, conversation] = fences(page, "json");

test("the pairs file that is shown is one", () => {
  const path = join(folder, "pairs.json");
  writeFileSync(path, file!);
  assert.deepEqual(
    readPairsFile(path).map(({ name, provenance }) => [name, provenance]),
    [
      ["mine", "3 example pairs written by our annotators, on 2026-01-31"],
      ["scenes", "captions of our own test images"],
    ],
  );
});

test("the table of forms has all of them, the default first", () => {
  const listed = [...page.matchAll(/^\| `([a-z-]+)`/gm)].map(([, name]) => name);
  assert.deepEqual(
    listed,
    promptForms.map(({ name }) => name),
  );
});

test("the prompts that are shown are those that are sent", () => {
  const example = { id: "", input: "{input}", output: "{output}" };
  const chat = findPromptForm("chat").render({ examples: [example], caption: "{caption}" });
  assert.ok(chat.kind === "chat");
  const shown = JSON.parse(conversation!) as ChatMessage[];
  const [{ content: task }, ...turns] = shown as [ChatMessage, ...ChatMessage[]];
  assert.ok(chat.messages[0]!.content.startsWith(task.replace(/ \.\.\.$/, "")));
  assert.deepEqual(chat.messages.slice(1), turns);
  const fusion = findPromptForm("fusion").render({ examples: [], caption: "{caption}", second: "{second caption}" });
  assert.ok(fusion.kind === "text");
  assert.deepEqual(fences(page, "text"), [`${fusion.own}\n`]);
});
