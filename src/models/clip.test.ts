/** The model as a whole: seeds, sizes that make no model, texts that are too long, what it leaves behind. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { describe, test } from "node:test";
import { loadTensors } from "../nn/index.ts";
import {
  type Tensor,
  autocast,
  manualSeed,
  measureMemory,
  memoryInfo,
  noGrad,
  ops,
  randn,
  scope,
  startProfile,
  tensor,
} from "../torch/index.ts";
import { Clip } from "./clip.ts";
import type { ClipConfig } from "./config.ts";
import { byteImages, imagenetPreprocessing, normalizeImages } from "./preprocessing.ts";
import { PatchEmbedding } from "./vision-transformer.ts";

const config: ClipConfig = {
  jointWidth: 5,
  vision: { imageSize: 12, patchSize: 4, width: 8, depth: 2, heads: 2, qkNorm: true },
  text: { contextLength: 10, vocabularySize: 20, width: 6, depth: 2, heads: 3 },
};

function withModel<T>(body: (model: Clip) => T, changed: ClipConfig = config, seed = 1): T {
  const model = new Clip(changed, { seed });
  try {
    return scope(() => body(model));
  } finally {
    model.dispose();
  }
}

const ids = (rows: number[][]): Tensor => tensor(rows, { dtype: "int64" });
const largest = (difference: Tensor): number => difference.abs().max().item();

describe("Clip", () => {
  test("the seed decides the weights, all of them", () => {
    const weights = (seed: number): number[] =>
      withModel((model) => model.parameters().flatMap((parameter) => parameter.toArray()), config, seed);
    const first = weights(1);
    assert.deepEqual(weights(1), first);
    const other = weights(2);
    assert.ok(other.filter((value, i) => value !== first[i]).length > first.length / 2);
    manualSeed(1);
    const unseeded = new Clip(config);
    assert.deepEqual(
      unseeded.parameters().flatMap((parameter) => parameter.toArray()),
      first,
    );
    unseeded.dispose();
  });

  test("without qk-norm the image tower has none of its weights", () => {
    withModel((model) => assert.ok([...model.stateDict().keys()].every((name) => !/q_norm|k_norm/.test(name))), {
      ...config,
      vision: { ...config.vision, qkNorm: false },
    });
  });

  test("features of each image and text do not depend on the others of the batch", () => {
    withModel((model) =>
      noGrad(() => {
        const images = randn([3, 3, 12, 12]);
        const all = model.encodeImages(images);
        assert.deepEqual(all.shape, [3, 5]);
        assert.deepEqual(model.imageFeatures(images).shape, [3, 8]);
        assert.ok(largest(model.encodeImages(images.slice(0, 1, 2)).sub(all.slice(0, 1, 2))) < 1e-5);
        const texts = ids([
          [18, 3, 4, 19, 0],
          [18, 5, 19, 0, 0],
        ]);
        const both = model.encodeTexts(texts);
        assert.deepEqual(both.shape, [2, 5]);
        assert.ok(largest(model.encodeTexts(ids([[18, 5, 19]])).sub(both.slice(0, 1))) < 1e-5);
      }),
    );
  });

  test("a text is read up to its end and no further; every word before it counts", () => {
    withModel((model) =>
      noGrad(() => {
        const read = (row: number[]): Tensor => model.encodeTexts(ids([row]));
        const text = read([18, 5, 6, 19, 0, 0]);
        assert.ok(largest(read([18, 5, 6, 19, 7, 3]).sub(text)) < 1e-6);
        for (const other of [
          [18, 4, 6, 19, 0, 0],
          [18, 6, 5, 19, 0, 0],
          [17, 5, 6, 19, 0, 0],
        ]) {
          assert.ok(largest(read(other).sub(text)) > 1e-6);
        }
      }),
    );
  });

  test("every parameter gets a gradient from a pair of features", () => {
    withModel((model) => {
      const images = model.encodeImages(randn([2, 3, 12, 12]));
      const texts = model.encodeTexts(
        ids([
          [18, 3, 19],
          [18, 4, 19],
        ]),
      );
      images.mul(texts).sum().mul(model.logitScale.exp()).backward();
      for (const [name, parameter] of model.namedParameters()) assert.ok(parameter.grad, name);
      assert.equal(model.logitScale.shape.length, 0);
    });
  });

  test("encoding leaves nothing but its result, and dispose leaves nothing", () => {
    const before = memoryInfo();
    withModel((model) => {
      const images = randn([1, 3, 12, 12]);
      const { live } = memoryInfo();
      const features = noGrad(() => model.encodeImages(images));
      assert.equal(memoryInfo().live, live + 1);
      features.dispose();
      const tokens = ids([[18, 19]]);
      noGrad(() => model.encodeTexts(tokens));
      assert.equal(memoryInfo().live, live + 2);
    });
    assert.deepEqual(memoryInfo(), before);
  });

  test("blocks leave all adding to norms and attention; without gradients, more of them take no more memory", () => {
    const forward = (depth: number): { additions: number; peak: number } =>
      withModel(
        (model) => {
          const [images, texts] = [randn([4, 3, 12, 12]), ids([[3, 7, 19]])];
          const encode = (): unknown => noGrad(() => [model.encodeImages(images), model.encodeTexts(texts)]);
          const end = startProfile("cpu");
          encode();
          const additions = end().events.filter(({ name }) => name === "aten::add").length;
          return { additions, peak: measureMemory(() => scope(encode)).peak };
        },
        // Of this width, heads have an attention that adds its mask within one operator.
        { ...config, vision: { ...config.vision, depth }, text: { ...config.text, width: 48, depth } },
      );
    assert.deepEqual(forward(6), forward(3));
  });

  test("sizes that make no model are refused with their names", () => {
    for (const [wrong, words] of [
      [{ ...config, vision: { ...config.vision, imageSize: 13 } }, /imageSize must be a multiple of patchSize/],
      [{ ...config, text: { ...config.text, heads: 4 } }, /width must be a multiple of heads/],
      [{ ...config, jointWidth: 0 }, /jointWidth/],
      [{ ...config, vision: { ...config.vision, depth: 1.5 } }, /vision\.depth/],
      [{ ...config, vision: { ...config.vision, form: "open-clip" } }, /qkNorm is there in the form laclip alone/],
      [{ ...config, colour: "red" }, /colour/],
    ] as const) {
      assert.throws(() => new Clip(wrong as ClipConfig), { name: "UsageError", message: words });
    }
  });

  test("texts that are too long and images of another size are refused", () => {
    withModel((model) => {
      assert.throws(() => model.encodeTexts(ids([Array.from({ length: 11 }, () => 1)])), {
        name: "UsageError",
        message: /11 tokens a row, the model takes 10/,
      });
      assert.throws(() => model.encodeTexts(ids([[18, 20]])), { name: "NativeError", message: /out of range/ });
      for (const size of [16, 13])
        assert.throws(() => model.encodeImages(randn([1, 3, size, size])), { name: "UsageError", message: new RegExp(`${size}.*12`) });
      assert.throws(() => model.encodeImages(randn([1, 1, 12, 12])), { name: "UsageError", message: /\[1, 1, 12, 12\]/ });
      assert.throws(() => model.encodeImages(byteImages(new Uint8Array(16 * 16 * 3), 1, 16, imagenetPreprocessing)), {
        name: "UsageError",
        message: /\[1, 16, 16, 3\]: the model takes \[batch, 12, 12, 3\]/,
      });
      assert.throws(() => model.encodeImages({ bytes: randn([1, 12, 12, 3]), preprocessing: imagenetPreprocessing }), {
        name: "UsageError",
        message: /float32: the model takes uint8/,
      });
    });
  });
});

describe("blocks that are computed again", () => {
  for (const form of ["laclip", "open-clip"] as const) {
    test(`have the same gradients, and a fraction of the memory at the end of the forward pass: ${form}`, () => {
      const deep: ClipConfig = {
        ...config,
        vision: { ...config.vision, form, qkNorm: form === "laclip", width: 32, depth: 8 },
        text: { ...config.text, width: 24, depth: 8 },
      };
      withModel((model) => {
        const images = randn([8, 3, 12, 12]);
        const texts = ids(Array.from({ length: 8 }, (_, i) => [18, 1 + i, 2 + i, 3, 4, 5, 19, 0, 0]));
        const run = (again: boolean): { kept: number; peak: number; gradients: number[][] } => {
          model.recomputesBlocks = again;
          const forward = (): Tensor => scope(() => model.encodeImages(images).matmul(model.encodeTexts(texts).t()).pow(2).sum());
          const { result, kept } = measureMemory(forward);
          const { peak } = measureMemory(() => result.backward());
          const gradients = model.parameters().map(({ grad }) => grad?.toArray() ?? []); // none of the scale
          model.zeroGrad();
          return { kept, peak: kept + peak, gradients };
        };
        const [remembered, again] = [run(false), run(true)];
        remembered.gradients.forEach((expected, i) => {
          const error = Math.hypot(...again.gradients[i]!.map((value, j) => value - expected[j]!));
          assert.ok(error <= 1e-6 * Math.hypot(...expected), `${error}`);
        });
        assert.ok(again.kept < 0.2 * remembered.kept, `${again.kept} bytes, ${remembered.kept} when all is remembered`);
        assert.ok(again.peak < remembered.peak, `at most ${again.peak} bytes, ${remembered.peak} when all is remembered`);
      }, deep);
    });
  }
});

describe("some of the patches", () => {
  const openClip: ClipConfig = { ...config, vision: { ...config.vision, form: "open-clip", qkNorm: false, activation: "quick-gelu" } };
  for (const changed of [config, openClip]) {
    const form = changed.vision.form ?? "laclip";
    test(`all of them in another order are the whole image, and each of them counts: ${form}`, () => {
      withModel((model) => {
        noGrad(() => model.parameters().forEach((parameter) => parameter.add_(randn(parameter.shape).mul(0.1))));
        const images = randn([2, 3, 12, 12]);
        const read = (...kept: number[][]): Tensor => noGrad(() => model.encodeImages(images, ids(kept)));
        const whole = noGrad(() => model.encodeImages(images));
        const order = [4, 0, 8, 1, 7, 2, 6, 3, 5];
        assert.ok(largest(read(order, order.toReversed()).sub(whole)) < 1e-5);
        // Those that are left out don't count, each image has its own.
        const some = read([0, 5], [3, 8]);
        const spoilt = images.clone();
        spoilt.select(0, 0).slice(1, 4, 8).slice(2, 0, 4).fill_(9); // patch 3 of the first
        const again = noGrad(() =>
          model.encodeImages(
            spoilt,
            ids([
              [0, 5],
              [3, 8],
            ]),
          ),
        );
        assert.ok(largest(again.sub(some)) < 1e-6);
        assert.ok(largest(read([0, 3], [3, 8]).sub(some).select(0, 0)) > 1e-4);
        assert.ok(largest(read([0, 3], [3, 8]).sub(some).select(0, 1)) < 1e-6);
      }, changed);
    });
  }
});

describe("patch embedding", () => {
  test("is the convolution whose weights it has, also for images that lie otherwise in memory", () => {
    scope(() => {
      const layer = new PatchEmbedding({ imageSize: 12, patchSize: 4, width: 7, depth: 1, heads: 1, qkNorm: false });
      const { weight, bias } = Object.fromEntries(layer.stateDict()) as Record<string, Tensor>;
      const images = randn([2, 3, 12, 12]);
      const expected = ops.conv2d(images, weight!, bias, 4).flatten(2).transpose(1, 2);
      assert.deepEqual(layer.forward(images).shape, [2, 9, 7]);
      assert.ok(largest(layer.forward(images).sub(expected)) < 1e-5);
      const channelsLast = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
      assert.ok(largest(layer.forward(channelsLast).sub(expected)) < 1e-5);
      layer.dispose();
    });
  });

  test("reads bytes as it reads normalised images, to the last bit, whole or some patches of them", () => {
    scope(() => {
      const layer = new PatchEmbedding({ imageSize: 12, patchSize: 4, width: 7, depth: 1, heads: 1, qkNorm: false });
      const bytes = byteImages(
        Uint8Array.from({ length: 2 * 12 * 12 * 3 }, (_, i) => (i * 89) % 256),
        2,
        12,
        imagenetPreprocessing,
      );
      const kept = tensor(
        [
          [8, 0],
          [3, 3],
        ],
        { dtype: "int64" },
      );
      for (const patches of [undefined, kept]) {
        const embed = (images: Parameters<typeof layer.forward>[0]): number[] => layer.forward(images, patches).toArray();
        assert.deepEqual(embed(bytes), embed(normalizeImages(bytes)));
        const under = (images: Parameters<typeof layer.forward>[0]): number[] => autocast("cpu", "bfloat16", () => embed(images));
        assert.deepEqual(under(bytes), under(normalizeImages(bytes)));
      }
      layer.dispose();
    });
  });

  test("gives what PyTorch computes (test/parity/models)", () => {
    const folder = fileURLToPath(new URL("../../../test/parity/models/", import.meta.url));
    scope(() => {
      const read = (name: string): Map<string, Tensor> => loadTensors(`${folder}${name}.safetensors`).tensors;
      const weights = read("weights");
      const layer = new PatchEmbedding({ imageSize: 32, patchSize: 8, width: 48, depth: 2, heads: 4, qkNorm: true });
      layer.loadStateDict(new Map(["weight", "bias"].map((name) => [name, weights.get(`visual.patch_embed.proj.${name}`)!])));
      const first = read("batches").get("images")!.slice(0, 0, 1);
      assert.ok(largest(noGrad(() => layer.forward(first)).sub(read("activations").get("visual.patch_embed")!)) < 1e-5);
      layer.dispose();
    });
  });
});
