/** Folders of Hugging Face out and back, and all that has no place there or none here. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type StoredTensor, readSafetensors, writeSafetensors } from "../formats/index.ts";
import {
  Clip,
  type ClipConfig,
  type ModelContents,
  imagenetPreprocessing,
  preset,
  readModelContents,
  saveModel,
  writeModelContents,
} from "../models/index.ts";
import { ModelFormatError, UsageError } from "../support/index.ts";
import { readHuggingFace, writeHuggingFace } from "./hugging-face-folder.ts";

/** No two sizes alike, so that no exchange of them goes unnoticed. */
const small: ClipConfig = {
  jointWidth: 10,
  vision: { form: "open-clip", imageSize: 24, patchSize: 8, width: 12, depth: 2, heads: 3, qkNorm: false, activation: "quick-gelu" },
  text: { contextLength: 9, vocabularySize: 30, width: 16, depth: 3, heads: 2, activation: "gelu" },
  logitScale: 10,
};

let root: string;
let places = 0;
const place = (): string => join(root, String(places++));
before(() => {
  root = mkdtempSync(join(tmpdir(), "laclip-hugging-face-"));
});
after(() => rmSync(root, { recursive: true }));

/** A model folder of ours with weights that are drawn. */
function drawn(config: ClipConfig): string {
  const folder = place();
  const model = new Clip(config, { seed: 3 });
  saveModel(folder, { model, preprocessing: imagenetPreprocessing });
  model.dispose();
  return folder;
}

for (const [name, config] of Object.entries({ "open-clip-nano": preset("open-clip-nano"), "a model of unlike sizes": small })) {
  test(`${name} comes back with the same bytes`, async () => {
    const [own, there, back] = [drawn(config), place(), place()];
    const { files, tokenizer, leftOut } = writeHuggingFace(there, readModelContents(own));
    assert.deepEqual([...files].sort(), readdirSync(there).sort());
    assert.equal(tokenizer, config.text.vocabularySize === 49408);
    assert.equal(files.includes("tokenizer.json"), tokenizer);
    assert.deepEqual(leftOut, []);
    writeModelContents(back, await readHuggingFace(there));
    for (const file of ["laclip.json", "model.safetensors"]) {
      assert.ok(readFileSync(join(own, file)).equals(readFileSync(join(back, file))), file);
    }
  });
}

test("is described by the names that transformers has for everything", async () => {
  const there = place();
  writeHuggingFace(there, readModelContents(drawn(small)));
  const { metadata, tensors } = readSafetensors(join(there, "model.safetensors"));
  assert.deepEqual(metadata, { format: "pt" });
  assert.deepEqual(tensors.get("text_projection.weight")!.shape, [10, 16]);
  assert.deepEqual(tensors.get("text_model.encoder.layers.2.self_attn.k_proj.weight")!.shape, [16, 16]);
  const config = JSON.parse(readFileSync(join(there, "config.json"), "utf8")) as Record<string, Record<string, unknown>>;
  assert.equal(config.text_config!.hidden_act, "gelu");
  assert.equal(config.vision_config!.hidden_act, "quick_gelu");
  assert.equal(config.text_config!.eos_token_id, 29);
  assert.equal(config.logit_scale_init_value, Math.log(10));
  const images = JSON.parse(readFileSync(join(there, "preprocessor_config.json"), "utf8")) as Record<string, unknown>;
  assert.equal(images.resample, 2);
  assert.deepEqual(images.size, { shortest_edge: 24 });
});

test("the head for SimCLR's loss is left out", async () => {
  const own = drawn({ ...small, viewHead: { hidden: 7, width: 5 } });
  const there = place();
  const { leftOut } = writeHuggingFace(there, readModelContents(own));
  assert.ok(leftOut.length > 0 && leftOut.every((name) => name.startsWith("image_mlp.")));
  assert.ok(![...readSafetensors(join(there, "model.safetensors")).tensors.keys()].some((name) => name.includes("image_mlp")));
});

describe("models without a place there are refused before anything is written", () => {
  for (const [name, config, message] of [
    ["LaCLIP's form", preset("nano"), /LaCLIP's form.*queries and keys/],
    ["SLIP's", preset("nano", { vision: { qkNorm: false } }), /LaCLIP's form.*before its blocks, and no bias/],
    ["a logit bias", { ...small, logitBias: -10 }, /logit bias/],
  ] as [string, ClipConfig, RegExp][]) {
    test(name, () => {
      const contents = readModelContents(drawn(config));
      const there = place();
      assert.throws(
        () => writeHuggingFace(there, contents),
        (error) => error instanceof UsageError && message.test(error.message) && /--to open-clip/.test(error.mend!),
      );
      assert.throws(() => readdirSync(there));
    });
  }

  test("weights that do not fit the description", () => {
    const contents = readModelContents(drawn(small));
    const without = new Map([...contents.weights].filter(([name]) => name !== "ln_final.bias"));
    const more = new Map([...contents.weights, ["extra", contents.weights.get("ln_final.bias")!]]);
    const refused = (weights: ModelContents["weights"], message: RegExp): void =>
      assert.throws(() => writeHuggingFace(place(), { ...contents, weights }), { name: "ModelFormatError", message });
    refused(without, /missing: ln_final\.bias/);
    refused(more, /unknown: extra/);
  });
});

describe("reading", () => {
  let good: string;
  before(() => {
    good = place();
    writeHuggingFace(good, readModelContents(drawn(small)));
  });
  /** A copy of the good folder in which a JSON file was changed. */
  const changed = (file: string, change: (content: Record<string, Record<string, unknown>>) => unknown): string => {
    const folder = place();
    cpSync(good, folder, { recursive: true });
    const content = JSON.parse(readFileSync(join(good, file), "utf8")) as Record<string, Record<string, unknown>>;
    writeFileSync(join(folder, file), JSON.stringify(change(content)));
    return folder;
  };
  const changedTensors = (change: (tensors: Map<string, StoredTensor>) => void): string => {
    const folder = place();
    cpSync(good, folder, { recursive: true });
    const { tensors } = readSafetensors(join(good, "model.safetensors"));
    change(tensors);
    writeSafetensors(join(folder, "model.safetensors"), tensors);
    return folder;
  };
  const refused = async (folder: string, ...messages: RegExp[]): Promise<void> =>
    await assert.rejects(readHuggingFace(folder), (error) => {
      assert.ok(error instanceof ModelFormatError, String(error));
      for (const message of messages) assert.match(error.message, message);
      return true;
    });
  const withConfig = (change: (content: Record<string, Record<string, unknown>>) => unknown): string => changed("config.json", change);

  test("what is left out is as transformers has it", async () => {
    const folder = place();
    cpSync(good, folder, { recursive: true });
    writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "clip" }));
    rmSync(join(folder, "preprocessor_config.json"));
    // The sizes are those of ViT-B/32, which the weights do not have.
    await refused(
      folder,
      /visual_projection\.weight: expected \[512, 768\], got \[10, 12\]/,
      /missing: vision_model.encoder.layers.2.*and \d+ more/,
    );
  });

  test("the second description of a tower goes before the first, as in transformers", async () => {
    const folder = withConfig(({ text_config, ...rest }) => ({ ...rest, text_config_dict: text_config, text_config: { hidden_size: 7 } }));
    assert.deepEqual((await readHuggingFace(folder)).config, small);
    const none = withConfig((content) => ({ ...content, text_config_dict: null }));
    assert.deepEqual((await readHuggingFace(none)).config, small);
  });

  for (const [name, change, ...messages] of [
    ["another type of model", (content) => ({ ...content, model_type: "siglip" }), /"siglip"/],
    ["no type at all", ({ text_config }) => text_config, /got "clip_text_model"/],
    [
      "other activations",
      (content) => ({ ...content, text_config: { ...content.text_config, hidden_act: "relu" } }),
      /text_config\.hidden_act/,
    ],
    [
      "other widths between",
      (content) => ({ ...content, vision_config: { ...content.vision_config, intermediate_size: 50 } }),
      /intermediate_size/,
    ],
    ["another epsilon", (content) => ({ ...content, text_config: { ...content.text_config, layer_norm_eps: 1e-6 } }), /layer_norm_eps/],
    [
      "heads that do not go into the width",
      (content) => ({ ...content, text_config: { ...content.text_config, num_attention_heads: 3 } }),
      /multiple of heads/,
    ],
    [
      "patches that do not go into the image",
      (content) => ({ ...content, vision_config: { ...content.vision_config, image_size: 25 } }),
      /multiple of patchSize/,
    ],
    [
      "an end of texts that is not the largest id",
      (content) => ({ ...content, text_config: { ...content.text_config, eos_token_id: 5 } }),
      /eos_token_id/,
    ],
    [
      "an end of texts that there is not",
      (content) => ({ ...content, text_config: { ...content.text_config, eos_token_id: 49407 } }),
      /eos_token_id/,
    ],
    [
      "more blocks than a model can have",
      (content) => ({ ...content, text_config: { ...content.text_config, num_hidden_layers: 1e12 } }),
      /num_hidden_layers/,
    ],
    ["no JSON object", () => [], /model_type/],
  ] as [string, (content: Record<string, Record<string, unknown>>) => unknown, ...RegExp[]][]) {
    test(`refuses ${name}`, async () => await refused(withConfig(change), ...messages));
  }

  test("takes the end of texts of old files, whose id was wrong", async () => {
    const folder = withConfig((content) => ({ ...content, text_config: { ...content.text_config, eos_token_id: 2 } }));
    assert.deepEqual((await readHuggingFace(folder)).config, small);
  });

  test("a scale that no training starts with is left to the weights", async () => {
    const { config } = await readHuggingFace(withConfig((content) => ({ ...content, logit_scale_init_value: 5 })));
    assert.equal(config.logitScale, undefined);
  });

  test("names tensors that are missing, unknown, or of another shape or type", async () => {
    const name = "text_model.encoder.layers.0.self_attn.v_proj.bias";
    await refused(
      changedTensors((tensors) => tensors.delete(name)),
      new RegExp(`missing: ${name}`),
    );
    await refused(
      changedTensors((tensors) => tensors.set("text_model.extra", tensors.get(name)!)),
      /unknown: text_model\.extra/,
    );
    await refused(
      changedTensors((tensors) => tensors.set(name, { ...tensors.get(name)!, shape: [4, 4] })),
      /v_proj\.bias: expected \[16\], got \[4, 4\]/,
    );
    await refused(
      changedTensors((tensors) => tensors.set(name, { ...tensors.get(name)!, dtype: "I32" })),
      /expected floats, got I32/,
    );
  });

  test("passes over the positions that old files count", async () => {
    const counted: StoredTensor = { dtype: "I64", shape: [1, 1], data: new Uint8Array(8) };
    const folder = changedTensors((tensors) => {
      for (const tower of ["text_model", "vision_model"]) tensors.set(`${tower}.embeddings.position_ids`, counted);
    });
    assert.deepEqual((await readHuggingFace(folder)).config, small);
  });

  test("weights of before safetensors are read too; those in several files are refused with a way out", async () => {
    const moved = (to: string | undefined): string => {
      const folder = place();
      cpSync(good, folder, { recursive: true });
      const weights = join(folder, "model.safetensors");
      if (to === undefined) rmSync(weights);
      else renameSync(weights, join(folder, to));
      return folder;
    };
    assert.deepEqual((await readHuggingFace(moved("pytorch_model.bin"))).weights, (await readHuggingFace(good)).weights);
    const empty = moved("pytorch_model.bin");
    writeFileSync(join(empty, "pytorch_model.bin"), "");
    await refused(empty, /pytorch_model\.bin: neither a file of PyTorch's nor one of safetensors/);
    await assert.rejects(readHuggingFace(moved("model.safetensors.index.json")), (error) => {
      return error instanceof ModelFormatError && /in several files/.test(error.message) && /save_pretrained/.test(error.mend!);
    });
    await refused(moved(undefined), /has no model\.safetensors/);
  });

  test("a folder of something else is no folder of Hugging Face", async () => {
    await assert.rejects(readHuggingFace(root), { name: "DataError", message: /has no config\.json/ });
    await assert.rejects(readHuggingFace(join(root, "nowhere")), { name: "DataError", message: /no such folder/ });
  });

  test("how images are made ready: as said, or as OpenAI does it", async () => {
    assert.deepEqual((await readHuggingFace(good)).preprocessing, imagenetPreprocessing);
    const bicubic = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711], interpolation: "bicubic" };
    const silent = place();
    cpSync(good, silent, { recursive: true });
    rmSync(join(silent, "preprocessor_config.json"));
    assert.deepEqual((await readHuggingFace(silent)).preprocessing, bicubic);
    // As old files say it; and the file of a whole processor goes before the other, but only where it speaks of images.
    const old = changed("preprocessor_config.json", () => ({ size: 24, crop_size: 24, resample: 3 }));
    assert.deepEqual((await readHuggingFace(old)).preprocessing, bicubic);
    writeFileSync(join(old, "processor_config.json"), JSON.stringify({ processor_class: "CLIPProcessor" }));
    assert.deepEqual((await readHuggingFace(old)).preprocessing, bicubic);
    writeFileSync(join(old, "processor_config.json"), JSON.stringify({ image_processor: { resample: 2 } }));
    assert.equal((await readHuggingFace(old)).preprocessing.interpolation, "bilinear");
  });

  for (const [name, change, message] of [
    ["another size", { size: { shortest_edge: 32 } }, /size/],
    ["squashing", { size: { height: 24, width: 24 } }, /must be \{"shortest_edge": 24\}/],
    ["another crop", { crop_size: { height: 20, width: 24 } }, /crop_size/],
    ["no crop", { do_center_crop: false }, /do_center_crop/],
    ["no normalising", { do_normalize: false }, /do_normalize/],
    ["another filter", { resample: 1 }, /resample/],
    ["another scale", { rescale_factor: 1 / 127.5 }, /rescale_factor/],
    ["no deviation", { image_std: [0, 1, 1] }, /image_std/],
  ] as [string, Record<string, unknown>, RegExp][]) {
    test(`refuses images made ready with ${name}`, async () => {
      await refused(
        changed("preprocessor_config.json", (content) => ({ ...content, ...change })),
        /preprocessor_config\.json/,
        message,
      );
    });
  }
});
