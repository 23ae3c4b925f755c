/** `laclip convert` as a person calls it: out into other forms and back, and what is refused. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readModel, writeModel } from "../../src/exchange/index.ts";
import { readSafetensors } from "../../src/formats/index.ts";
import { Clip, imagenetPreprocessing, loadModel, openaiPreprocessing, presets, saveModel } from "../../src/models/index.ts";
import { runLaclip } from "./laclip.ts";

const fixtures = fileURLToPath(new URL("../../../test/parity/exchange/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "laclip-convert-"));
const at = (name: string): string => join(folder, name);
after(() => rmSync(folder, { recursive: true }));

before(() => {
  for (const [name, preprocessing] of Object.entries({ nano: imagenetPreprocessing, "open-clip-nano": openaiPreprocessing })) {
    const model = new Clip(presets[name as "nano" | "open-clip-nano"], { seed: 1 });
    saveModel(at(name), { model, preprocessing });
    model.dispose();
  }
});

async function convert(...words: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return await runLaclip(["convert", ...words]);
}

for (const [name, form] of [
  ["nano", "open-clip"],
  ["open-clip-nano", "open-clip"],
  ["open-clip-nano", "hugging-face"],
] as const) {
  test(`${name} to ${form} and back is the same model to the bit`, async () => {
    const [out, back] = [at(`${name}-${form}`), at(`${name}-${form}-back`)];
    const there = await convert(at(name), out, "--to", form, "--json");
    assert.equal(there.code, 0, there.stderr);
    const told = JSON.parse(there.stdout) as { form: string; files: string[]; config: unknown };
    assert.equal(told.form, "laclip");
    assert.ok(told.files.every((file) => existsSync(join(out, file))) && told.files.includes("README.md"), told.files.join());
    const { code, stderr } = await convert(out, back);
    assert.equal(code, 0, stderr);
    const weights = (of: string): unknown => readSafetensors(join(of, "model.safetensors")).tensors;
    assert.deepEqual(weights(back), weights(at(name)));
    const described = (of: string): { model: object; preprocessing: object } =>
      JSON.parse(readFileSync(join(of, "laclip.json"), "utf8")) as { model: object; preprocessing: object };
    assert.deepEqual(described(back).preprocessing, described(at(name)).preprocessing);
  });
}

test("a published checkpoint becomes a model that others open", async () => {
  const out = at("from-checkpoint");
  const { code, stdout, stderr } = await convert(join(fixtures, "laclip.pt"), out, "--heads", "2,4");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /16 pixels in patches of 8; 16 wide, 1 deep, 2 heads; gelu/);
  const { model, preprocessing } = loadModel(out);
  model.dispose();
  assert.deepEqual(preprocessing, imagenetPreprocessing);
});

test("what is counted is what was written: SLIP's head for training is not", async () => {
  const counts: number[] = [];
  for (const form of ["laclip", "open-clip"]) {
    const { stdout, stderr } = await convert(join(fixtures, "slip.pt"), at(`slip-${form}`), "--heads", "2,4", "--to", form, "--json");
    assert.notEqual(stdout, "", stderr);
    counts.push((JSON.parse(stdout) as { parameters: number }).parameters);
  }
  assert.equal(counts[0]! - counts[1]!, 16 * 12 + 12 + 2 * 12 + 12 * 12 + 12 + 2 * 12 + 12 * 6 + 6);
});

test("the new folder may be named with a slash at its end, as a shell completes it", async () => {
  mkdirSync(at("completed"));
  const { code, stderr } = await convert(at("nano"), `${at("completed")}/`);
  assert.equal(code, 0, stderr);
  assert.ok(existsSync(join(at("completed"), "laclip.json")));
});

test("graphs for onnxruntime and transformers.js are written, and are no model to go on from", async () => {
  const out = at("graphs");
  const { code, stdout, stderr } = await convert(at("nano"), out, "--to", "onnx", "--json");
  assert.equal(code, 0, stderr);
  const { files } = JSON.parse(stdout) as { files: string[] };
  const graphs = ["model", "text_model", "vision_model"].map((name) => join("onnx", `${name}.onnx`));
  for (const file of [...graphs, "config.json", "preprocessor_config.json", "tokenizer.json"]) assert.ok(files.includes(file), file);
  const again = await convert(out, at("x"));
  assert.equal(again.code, 3);
  assert.match(again.stderr, /lie in ONNX graphs/);
});

test("what can't be done is said with what to do, and nothing is left behind", async () => {
  const expected: [words: string[], code: number, message: RegExp][] = [
    [[at("none"), at("x")], 3, /none: no such file or folder/],
    [[at("nano"), at("open-clip-nano"), "--to", "open-clip"], 2, /this folder has files in it/],
    [[at("nano"), at("x"), "--to", "hugging-face"], 2, /--to open-clip/],
    [[at("nano"), at("x"), "--heads", "1,2"], 2, /a folder says itself/],
    [[at("nano"), at("x"), "--heads", "12"], 2, /two numbers, as in 12,8/],
    [[join(fixtures, "open-clip.pt"), at("x"), "--heads", "2,4"], 2, /--activation quick-gelu/],
    [[join(fixtures, "before-1.6.pt"), at("x")], 3, /since version 1\.6/],
    [[join(fixtures, "exchange.test.ts"), at("x")], 3, /neither a file of PyTorch's/],
  ];
  mkdirSync(at("empty"));
  expected.push([[at("empty"), at("x")], 3, /none of laclip\.json, open_clip_config\.json/]);
  expected.push([[join(at("nano"), "model.safetensors"), at("x")], 2, /Give the folder: .*nano\./]);
  mkdirSync(at("run/model"), { recursive: true });
  writeFileSync(at("run/model/laclip.json"), "");
  expected.push([[at("run"), at("x")], 3, /Give .*run.model\./]);
  mkdirSync(at("alone"));
  writeFileSync(at("alone/w.pt"), "");
  expected.push([[at("alone"), at("x")], 3, /give the file itself, .*w\.pt/]);
  // Below a file, and for ever around.
  symlinkSync("loop", at("loop"));
  expected.push(
    [[at("alone/w.pt/in"), at("x")], 3, /in: no such file or folder/],
    [[at("nano"), at("alone/w.pt/x")], 2, /a file lies where a folder belongs/],
    [[at("loop"), at("x")], 3, /loop: can't be read \(ELOOP\)/],
    [[at("nano"), at("loop")], 3, /loop: can't be read \(ELOOP\)/],
    [[at("nano"), ""], 2, /the folder that the command runs in/],
    [[at("none"), at("nano")], 2, /this folder has files in it/],
  );
  await writeModel(at("other-weights"), "laclip", await readModel(at("nano")));
  const description = join(at("other-weights"), "laclip.json");
  writeFileSync(description, readFileSync(description, "utf8").replaceAll('"depth": 1', '"depth": 2'));
  expected.push([[at("other-weights"), at("x"), "--to", "open-clip"], 3, /missing: visual\.blocks\.1/]);
  mkdirSync(at("other"));
  writeFileSync(
    join(at("other"), "open_clip_config.json"),
    JSON.stringify({ model_cfg: { embed_dim: 8, custom_text: true, vision_cfg: {}, text_cfg: {} } }),
  );
  expected.push([[at("other"), at("x")], 3, /models with true here are not known.*custom_text/s]);
  for (const [words, code, message] of expected) {
    const result = await convert(...words);
    assert.equal(result.code, code, `${words.join(" ")}: ${result.stderr}`);
    assert.match(result.stderr, message);
    assert.ok(!existsSync(at("x")));
  }
});
