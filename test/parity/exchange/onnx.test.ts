/**
 * Models as ONNX graphs, run by onnxruntime's build for the web: the same features as by libtorch, and as their own projects computed.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { InferenceSession, Tensor as OnnxTensor, env } from "onnxruntime-web";
import { readModel, writeModel } from "../../../src/exchange/index.ts";
import { Clip, type ClipConfig, type ModelContents, imagenetPreprocessing, preset } from "../../../src/models/index.ts";
import { loadTensors, storedTensors } from "../../../src/nn/index.ts";
import { type Tensor, noGrad, randn, scope, tensor } from "../../../src/torch/index.ts";

const fixtures = fileURLToPath(new URL("../../../../test/parity/exchange/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "laclip-onnx-"));
after(() => rmSync(folder, { recursive: true }));
env.wasm.numThreads = 1;

/** Numbers of a result, row by row. */
type Rows = number[][];

/** Graphs of a folder. */
class Graphs {
  readonly #sessions = new Map<string, InferenceSession>();

  constructor(readonly path: string) {}

  async #run(name: string, inputs: Record<string, OnnxTensor>): Promise<Record<string, Rows>> {
    let session = this.#sessions.get(name);
    if (!session)
      this.#sessions.set(name, (session = await InferenceSession.create(readFileSync(join(this.path, "onnx", `${name}.onnx`)))));
    const results = await session.run(inputs);
    return Object.fromEntries(Object.entries(results).map(([output, { dims, data }]) => [output, rows(data as Float32Array, dims)]));
  }

  async images(images: Tensor): Promise<Rows> {
    return (await this.#run("vision_model", { pixel_values: pixelsOf(images) })).image_embeds!;
  }

  async texts(ids: number[][]): Promise<Rows> {
    return (await this.#run("text_model", idsOf(ids))).text_embeds!;
  }

  both(images: Tensor, ids: number[][]): Promise<Record<string, Rows>> {
    return this.#run("model", { pixel_values: pixelsOf(images), ...idsOf(ids) });
  }
}

function pixelsOf(images: Tensor): OnnxTensor {
  return new OnnxTensor("float32", Float32Array.from(images.toArray()), images.shape);
}

function idsOf(ids: number[][]): Record<string, OnnxTensor> {
  const shape = [ids.length, ids[0]!.length];
  const whole = (values: number[]): OnnxTensor => new OnnxTensor("int64", BigInt64Array.from(values.map(BigInt)), shape);
  return { input_ids: whole(ids.flat()), attention_mask: whole(ids.flat().map(() => 1)) };
}

function rows(data: Iterable<number>, [count, width]: readonly number[]): Rows {
  const values = Array.from(data);
  return Array.from({ length: count! }, (_, row) => values.slice(row * width!, (row + 1) * width!));
}

/** Largest difference, relative to the largest expected value. */
function distance(actual: Rows, expected: Rows): number {
  assert.deepEqual([actual.length, actual[0]!.length], [expected.length, expected[0]!.length]);
  const most = (values: number[]): number => values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  return most(actual.flatMap((row, i) => row.map((value, j) => value - expected[i]![j]!))) / most(expected.flat());
}

function assertNear(actual: Rows, expected: Rows, within = 1e-5): void {
  const far = distance(actual, expected);
  assert.ok(far < within, `${far}`);
}

const rowsOf = (of: Tensor): Rows => rows(of.toArray(), of.shape);

/** A model whose weights have all been changed, since biases begin as zeros and norms as ones. */
function changedModel(config: ClipConfig): { model: Clip; contents: ModelContents } {
  const model = new Clip(config, { seed: 3 });
  scope(() => {
    for (const parameter of model.parameters()) noGrad(() => void parameter.add_(randn(parameter.shape).mul(0.1)));
  });
  const weights = new Map(storedTensors(model.namedParameters()));
  return { model, contents: { config, preprocessing: imagenetPreprocessing, weights } };
}

const nano = preset("nano");
const openNano = preset("open-clip-nano");
const models: Record<string, ClipConfig> = {
  "LaCLIP's form": { ...nano, vision: { ...nano.vision, depth: 2 }, text: { ...nano.text, depth: 2 } },
  "LaCLIP's form without norms of queries, activations exchanged": {
    ...nano,
    vision: { ...nano.vision, qkNorm: false, activation: "quick-gelu" },
    text: { ...nano.text, activation: "gelu" },
  },
  "open_clip's form": { ...openNano, vision: { ...openNano.vision, depth: 2 }, text: { ...openNano.text, depth: 2 } },
  "open_clip's form with QuickGELU and a bias": {
    ...openNano,
    vision: { ...openNano.vision, activation: "quick-gelu" },
    text: { ...openNano.text, activation: "quick-gelu" },
    logitBias: -5,
  },
};

const end = 49407;
/** Texts of many kinds, each row `[start, tokens, end, padding]`. */
const texts: Record<string, number[][]> = {
  "one of a single token": [[end]],
  "one without padding": [[49406, 320, 1125, end]],
  "padded with zeros and with ends": [
    [49406, 320, 1125, 539, 320, 2368, end, 0, 0],
    [49406, 320, 2368, end, end, end, end, end, end],
    [49406, end, 5, 6, 7, 8, 9, 10, 11],
  ],
  "of all tokens that there is room for": [
    [49406, ...Array.from({ length: 75 }, (_, i) => 7 * i), end],
    [49406, 1929, end, ...Array.from({ length: 74 }, () => 0)],
  ],
};

for (const [n, [what, config]] of Object.entries(models).entries()) {
  describe(what, async () => {
    const { model, contents } = changedModel(config);
    after(() => model.dispose());
    const path = join(folder, `${n}`);
    await writeModel(path, "onnx", contents, { version: "0" });
    const graphs = new Graphs(path);
    const { imageSize } = config.vision;
    const encode = (of: () => Tensor): Rows => noGrad(() => scope(() => rowsOf(of())));
    const encodeTexts = (ids: number[][]): Rows => encode(() => model.encodeTexts(tensor(ids, { dtype: "int64" })));

    for (const batch of [1, 5]) {
      test(`images, ${batch} at a time, have libtorch's features`, async () => {
        const images = randn([batch, 3, imageSize, imageSize]);
        assertNear(
          await graphs.images(images),
          encode(() => model.encodeImages(images)),
        );
        images.dispose();
      });
    }

    for (const [which, ids] of Object.entries(texts)) {
      test(`texts, ${which}, have libtorch's features`, async () => {
        assertNear(await graphs.texts(ids), encodeTexts(ids));
      });
    }

    test("in one graph: features of length 1, and their similarities with scale and bias", async () => {
      const images = randn([2, 3, imageSize, imageSize]);
      const ids = texts["padded with zeros and with ends"]!;
      const found = await graphs.both(images, ids);
      const unit = (features: Rows): Rows => features.map((row) => row.map((value) => value / Math.hypot(...row)));
      const image = unit(encode(() => model.encodeImages(images)));
      const text = unit(encodeTexts(ids));
      assertNear(found.image_embeds!, image);
      assertNear(found.text_embeds!, text);
      const [scale, bias] = [Math.exp(model.logitScale.item()), model.logitBias?.item() ?? 0];
      const logits = image.map((i) => text.map((t) => scale * i.reduce((sum, value, k) => sum + value * t[k]!, 0) + bias));
      assertNear(found.logits_per_image!, logits);
      assertNear(
        found.logits_per_text!,
        text.map((_, t) => logits.map((row) => row[t]!)),
      );
      images.dispose();
    });

    test("texts with more tokens than the model has positions are refused by the graph", async () => {
      await assert.rejects(graphs.texts([Array.from({ length: 78 }, () => end)]));
    });
  });
}

describe("models of other projects", () => {
  const expected = loadTensors(join(fixtures, "features.safetensors")).tensors;
  const heads = { image: 2, text: 4 };
  for (const [path, features, unseen] of [
    ["laclip.pt", "laclip", { heads }],
    ["slip.pt", "slip", { heads }],
    ["open-clip-native", "open-clip-native", {}],
    ["open-clip-timm", "open-clip-timm", {}],
  ] as const) {
    test(`${path}: the features that its own project computed`, async () => {
      const out = join(folder, path);
      await writeModel(out, "onnx", await readModel(join(fixtures, path), unseen));
      const graphs = new Graphs(out);
      assertNear(await graphs.images(expected.get("images")!), rowsOf(expected.get(`${features}.image_features`)!), 2e-5);
      assertNear(await graphs.texts(rowsOf(expected.get("tokens")!)), rowsOf(expected.get(`${features}.text_features`)!), 2e-5);
    });
  }
});

test("with CLIP's vocabulary a tokenizer lies beside the graphs, and a description of the sizes", async () => {
  const path = join(folder, "files");
  const { model, contents } = changedModel(nano);
  const { notes, files } = await writeModel(path, "onnx", contents);
  model.dispose();
  assert.deepEqual(notes, []);
  for (const name of ["onnx/vision_model.onnx", "onnx/text_model.onnx", "onnx/model.onnx", "tokenizer.json", "README.md"]) {
    assert.ok(files.includes(name), `${name} of ${files.join(", ")}`);
    assert.ok(existsSync(join(path, name)));
  }
  const read = (name: string): Record<string, unknown> => JSON.parse(readFileSync(join(path, name), "utf8")) as Record<string, unknown>;
  const config = read("config.json");
  assert.equal(config.model_type, "clip");
  // transformers' own CLIPModel can't be this model.
  assert.equal(config.architectures, undefined);
  assert.deepEqual(config["transformers.js_config"], { dtype: "fp32" });
  assert.deepEqual(read("preprocessor_config.json").image_mean, imagenetPreprocessing.mean);
});

test("without CLIP's vocabulary there is no tokenizer, and a note says so", async () => {
  const { model, contents } = changedModel({ ...openNano, text: { ...openNano.text, vocabularySize: 90 } });
  const { notes, files } = await writeModel(join(folder, "letters"), "onnx", contents);
  model.dispose();
  assert.equal(notes.length, 1);
  assert.ok(!files.includes("tokenizer.json"));
});
