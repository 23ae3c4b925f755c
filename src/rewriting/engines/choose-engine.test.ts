import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { UsageError } from "../../support/index.ts";
import { chooseEngine } from "./choose-engine.ts";
import { EdaEngine } from "./eda.ts";
import { LlamaCppEngine } from "./llama-cpp.ts";
import { OpenAiCompatibleEngine } from "./openai-compatible.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-engine-"));
after(() => rmSync(folder, { recursive: true }));

test("a program, servers, addresses and files each get their engine", () => {
  const file = join(folder, "model");
  writeFileSync(file, "");
  assert.ok(chooseEngine("eda") instanceof EdaEngine);
  assert.ok(chooseEngine("HTTP://localhost:8000/v1", { model: "m", concurrency: 2 }) instanceof OpenAiCompatibleEngine);
  assert.ok(chooseEngine("http://one:8000/v1, https://two/v1") instanceof OpenAiCompatibleEngine);
  assert.ok(chooseEngine("hf:owner/repository/file.gguf") instanceof LlamaCppEngine);
  assert.ok(chooseEngine(file, { threads: 1, context: 256, gpu: false }) instanceof LlamaCppEngine);
});

test("an address that is none, a missing file and a folder are refused before any work", () => {
  for (const [llm, message] of [
    ["http://", /not a valid address/],
    ["http://host:notaport/v1", /not a valid address/],
    ["http://one/v1,", /--llm  is not a valid address/],
    ["http://one/v1,two.gguf", /--llm two\.gguf is not a valid address/],
    [join(folder, "missing.gguf"), /no such file/],
    ["edda", /no such file/],
    [folder, /this is no file/],
  ] as const) {
    assert.throws(
      () => chooseEngine(llm),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  }
});
