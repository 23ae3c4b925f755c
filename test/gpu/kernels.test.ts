/**
 * Our own kernels on a device against plain operators on the processor, in float32: values and gradients, in all dtypes, of widths that fill
 * a block's threads and of such that don't. On the stand-in the kernels are emulated (native/src/emulate.cc), which also checks every access
 * to memory.
 */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import {
  type NormWeights,
  Tensor,
  addNorm,
  attention,
  autocast,
  canCutPatches,
  cutPatches,
  gelu,
  hasOperator,
  linearThen,
  manualSeed,
  native,
  noGrad,
  operator,
  ops,
  quickGelu,
  randn,
  scope,
  splitHeads,
  tensor,
  zeros,
} from "../../src/torch/index.ts";
import { PatchEmbedding } from "../../src/models/vision-transformer.ts";
import { type ByteImages, imagePatches, imagenetPreprocessing, normalizeImages } from "../../src/models/index.ts";
import { devices, unless } from "./devices.ts";

// What 16 bits round differs from draw to draw: another one may just miss a tolerance.
beforeEach(() => manualSeed(1));

const dtypes = ["float32", "bfloat16", "float16"] as const;
/** Distance that rounding explains, relative to the largest number: of gradients that are summed over rows, a bit more than of values. */
const close = { float32: 2e-5, bfloat16: 1.5e-2, float16: 2e-3 };
const eps = 1e-5;

/** Runs `body` with products in `dtype`, by the autocast of GPUs, which the stand-in goes by as well. */
function withProducts<T>(dtype: (typeof dtypes)[number], body: () => T): T {
  return dtype === "float32" ? body() : autocast("cuda", dtype, body);
}

function assertClose(found: Tensor, expected: Tensor, tolerance: number, what: string): void {
  assert.deepEqual(found.shape, expected.shape, what);
  if (expected.shape.includes(0)) return;
  const [ours, theirs] = [found, expected].map((x) => x.to({ device: "cpu", dtype: "float32" })) as [Tensor, Tensor];
  const difference = ours.sub(theirs).abs().max().item();
  const size = Math.max(1, theirs.abs().max().item());
  assert.ok(difference <= tolerance * size, `${what}: differ by ${difference} where the largest is ${size}`);
}

/**
 * The same computation on both sides from the same numbers, and back from outputs that are weighted at random.
 * @param inputs on the processor; an input's dtype is what it has on the device
 * @param used outputs that take part in the way back; default all
 */
function compare(
  device: string,
  inputs: readonly Tensor[],
  ours: (inputs: Tensor[]) => Tensor[],
  plain: (inputs: Tensor[]) => Tensor[],
  tolerance: number,
  what: string,
  used?: readonly number[],
): Tensor[] {
  const there = inputs.map((x) => x.detach().to({ device }).setRequiresGrad());
  const here = inputs.map((x) => x.detach().clone().to("float32").detach().setRequiresGrad());
  const found = ours(there);
  const expected = plain(here);
  const weights = expected.map(({ shape }) => randn(shape));
  const back = (outputs: Tensor[], where: string): void => {
    const terms = outputs.flatMap((output, i) =>
      used && !used.includes(i)
        ? []
        : [
            output
              .to("float32")
              .mul(weights[i]!.to({ device: where }))
              .sum(),
          ],
    );
    terms.reduce((a, b) => a.add(b)).backward();
  };
  back(found, device);
  back(expected, "cpu");
  expected.forEach((output, i) => assertClose(found[i]!, output, tolerance, `${what}: output ${i}`));
  here.forEach(({ grad }, i) => {
    // What nothing came back to may have a gradient of zeros.
    if (grad === undefined)
      return assertClose(there[i]!.grad ?? zeros([1]), zeros(there[i]!.grad?.shape ?? [1]), 0, `${what}: gradient ${i}`);
    assert.equal(there[i]!.grad!.dtype, inputs[i]!.dtype, `${what}: gradient ${i}`);
    assertClose(there[i]!.grad!, grad, tolerance, `${what}: gradient ${i}`);
  });
  return found;
}

const norm = (weight: Tensor, bias: Tensor): NormWeights => ({ weight, bias, eps });
const plainNorm = (x: Tensor, weight: Tensor, bias: Tensor): Tensor => ops.layerNorm(x, weight.shape, weight, bias, eps);

for (const tested of devices) {
  const { device } = tested;
  describe(`kernels on ${tested.name}`, () => {
    test("are there", unless(tested), () => {
      assert.equal(native().kernelProblem(device), undefined);
      assert.ok(hasOperator("laclip::activate"));
    });

    const sums = (
      shape: readonly number[],
      change: (typeof dtypes)[number] | undefined,
      out: (typeof dtypes)[number],
      used?: number[],
    ): void => {
      scope(() => {
        const width = shape.at(-1)!;
        const inputs = [randn(shape), randn([width]), randn([width]), ...(change ? [randn(shape).to(change)] : [])];
        const tolerance = Math.max(close[change ?? "float32"], close[out]);
        const what = `${shape.join(" x ")}, ${change ?? "nothing"} added, to ${out}`;
        const [sum, normed] = withProducts(out, () =>
          compare(
            device,
            inputs,
            ([x, w, b, added]) => addNorm(x!, added, norm(w!, b!)),
            ([x, w, b, added]) => {
              const total = added === undefined ? x!.mul(1) : x!.add(added);
              return [total, plainNorm(total, w!, b!)];
            },
            tolerance,
            what,
            used,
          ),
        ) as [Tensor, Tensor];
        assert.deepEqual([sum.dtype, normed.dtype], ["float32", out], what);
      });
    };

    test("sum and norm in all dtypes", unless(tested), () => {
      for (const out of dtypes) for (const change of [undefined, ...dtypes]) sums([2, 7, 96], change, out);
    });

    test("sum and norm of rows of all widths", unless(tested), () => {
      for (const width of [1, 7, 50, 64, 130, 384, 512, 768, 1024]) sums([13, width], "bfloat16", "bfloat16");
      for (const width of [3, 64, 1026, 8192]) sums([3, width], "float32", "float32");
      sums([1, 40], undefined, "float32");
      sums([0, 40], "float32", "float32");
    });

    test("sum and norm of which only one is used", unless(tested), () => {
      for (const used of [[0], [1]]) {
        sums([9, 72], "bfloat16", "bfloat16", used);
        sums([9, 72], undefined, "float32", used);
      }
    });

    test("rows that are wider than a block, and memory that begins anywhere", unless(tested), () => {
      scope(() => {
        // By plain operators.
        sums([2, 8200], "float32", "float32");
        const [long, w, b] = [randn([5 * 64 + 1]).to({ device }), randn([64]).to({ device }), randn([64]).to({ device })];
        for (const x of [long.slice(0, 1).view(5, 64), long.slice(0, 1).view(64, 5).t()]) {
          const [, normed] = noGrad(() => addNorm(x, x, norm(w, b)));
          const here = x.to({ device: "cpu" });
          assertClose(normed, plainNorm(here.add(here), w.to({ device: "cpu" }), b.to({ device: "cpu" })), close.float32, "askew");
        }
      });
    });

    test("the same bits every time", unless(tested), () => {
      scope(() => {
        const inputs = [randn([37, 48]), randn([37, 48]), randn([48]), randn([48])].map((x) => x.to({ device }));
        const gradients = (): number[] => {
          const [x, change, w, b] = inputs.map((input) => input.detach().clone().setRequiresGrad()) as [Tensor, Tensor, Tensor, Tensor];
          addNorm(x, change, norm(w, b))[1].pow(2).sum().backward();
          return [x, w, b].flatMap(({ grad }) => [...grad!.to({ device: "cpu" }).toFloat32Array()]);
        };
        assert.deepEqual(gradients(), gradients());
      });
    });

    /** `biased`: with a bias of the layer before, which is in the projection already. */
    const heads = (
      [batch, tokens, count, depth]: [number, number, number, number],
      dtype: (typeof dtypes)[number],
      { norms, biased = false, used }: { norms: boolean; biased?: boolean; used?: number[] },
    ): void => {
      scope(() => {
        const inputs = [randn([batch, tokens, 3 * count * depth]).to(dtype), randn([3 * count * depth])];
        if (norms) for (let i = 0; i < 4; i++) inputs.push(randn([depth]));
        const found = compare(
          device,
          inputs,
          ([x, bias, qw, qb, kw, kb]) =>
            splitHeads(x!, count, norms ? { query: norm(qw!, qb!), key: norm(kw!, kb!) } : undefined, biased ? bias : undefined),
          ([x, bias, qw, qb, kw, kb]) => {
            const projected = biased ? x!.add(bias!.sub(bias!.detach())) : x!;
            const [q, k, v] = projected.view(batch, tokens, 3, count, depth).permute(2, 0, 3, 1, 4).unbind(0) as [Tensor, Tensor, Tensor];
            return norms ? [plainNorm(q, qw!, qb!), plainNorm(k, kw!, kb!), v] : [q, k, v];
          },
          close[dtype],
          `${[batch, tokens, count, depth].join(" x ")}, ${dtype}, ${norms ? "with" : "without"} norms${biased ? ", with a bias" : ""}`,
          used,
        );
        if (depth <= 256) assert.ok(found.every((part) => part.dtype === dtype));
      });
    };

    for (const norms of [true, false]) {
      test(`heads ${norms ? "with" : "without"} norms, in all dtypes and widths`, unless(tested), () => {
        for (const dtype of dtypes) for (const biased of [true, false]) heads([2, 7, 3, 64], dtype, { norms, biased });
        for (const depth of [1, 5, 20, 32, 80, 129, 256]) heads([1, 5, 2, depth], "bfloat16", { norms, biased: true });
        for (const depth of [6, 20, 130, 256]) heads([2, 3, 1, depth], "float32", { norms, biased: true });
        // By plain operators.
        heads([1, 2, 2, 260], "float32", { norms, biased: true });
        // More vectors than a block has groups.
        heads([1, 3, 33, 64], "bfloat16", { norms, biased: true });
        heads([3, 1, 12, 64], "float16", { norms });
        for (const used of [[0], [1, 2], [2]]) heads([2, 5, 2, 16], "bfloat16", { norms, biased: true, used });
      });
    }

    // In 16 bits libtorch may take cuDNN's attention, whose way back was wrong in some versions for rows that don't end on a multiple of 128
    // and for queries, keys and values that lie apart: this has both.
    test("attention behind it, of the image tower's size, in all dtypes", unless(tested), () => {
      const [batch, tokens, count, depth] = [device.startsWith("cuda") ? 8 : 1, 197, 12, 64];
      for (const dtype of dtypes) {
        // What the stand-in computes by, libtorch 1.13 on a processor, has no products in float16.
        if (dtype === "float16" && !hasOperator("aten::scaled_dot_product_attention")) continue;
        scope(() => {
          const inputs = [randn([batch, tokens, 3 * count * depth]).to(dtype)];
          inputs.push(randn([depth]).mul(0.2).add(1), randn([depth]).mul(0.2), randn([depth]).mul(0.2).add(1));
          // Without a bias of the keys, which no share depends on: its gradient is nothing but rounding.
          const parts = ([x, qw, qb, kw]: Tensor[]): [Tensor, Tensor, Tensor] =>
            splitHeads(x!, count, { query: norm(qw!, qb!), key: norm(kw!, kw!.detach().mul(0)) });
          const attended = (leaves: Tensor[]): Tensor[] => [
            attention(...parts(leaves))
              .transpose(1, 2)
              .reshape(batch, tokens, count * depth),
          ];
          withProducts(dtype, () => compare(device, inputs, attended, attended, 2 * close[dtype], dtype));
        });
      }
    });

    test("what enters attention may come back laid out in any way", unless(tested), () => {
      scope(() => {
        const [batch, tokens, count, depth] = [2, 6, 3, 16];
        for (const turn of [
          (x: Tensor) => x.transpose(1, 2).mul(2),
          (x: Tensor) => x.transpose(-2, -1).mul(2),
          (x: Tensor) => x.sum(-1, true),
        ]) {
          const parts = (x: Tensor): Tensor[] => x.view(batch, tokens, 3, count, depth).permute(2, 0, 3, 1, 4).unbind(0).map(turn);
          compare(
            device,
            [randn([batch, tokens, 3 * count * depth])],
            ([x]) => splitHeads(x!, count).map(turn),
            ([x]) => parts(x!),
            close.float32,
            "turned",
          );
        }
      });
    });

    for (const [name, ours, plain] of [
      ["gelu", gelu, (x: Tensor) => ops.gelu(x)],
      ["quickGelu", quickGelu, (x: Tensor) => ops.silu(x.mul(1.702)).mul(1 / 1.702)],
    ] as const) {
      test(`${name} and its slope in all dtypes, of any count`, unless(tested), () => {
        for (const dtype of dtypes) {
          for (const count of [1, 8, 4099, 12_000]) {
            scope(() => {
              const x = randn([count]).mul(3).to(dtype);
              compare(
                device,
                [x],
                ([x]) => [ours(x!)],
                ([x]) => [plain(x!)],
                dtype === "float32" ? 1e-6 : close[dtype],
                `${name} of ${count}`,
              );
            });
          }
        }
        for (const dtype of dtypes) {
          for (const [rows, width] of [
            [1, 1],
            [5, 20],
            [7, 72],
            [9, 2056],
          ] as const) {
            scope(() => {
              const inputs = [randn([rows, width]).mul(3).to(dtype), randn([width])];
              const tolerance = dtype === "float32" ? 2e-6 : close[dtype];
              compare(
                device,
                inputs,
                ([x, bias]) => [ours(x!, bias)],
                ([x, bias]) => [plain(x!.add(bias!.sub(bias!.detach())))],
                tolerance,
                `${name} of ${rows} x ${width}, ${dtype}, with a bias`,
              );
            });
          }
        }
        scope(() => {
          assert.deepEqual(ours(zeros([0, 3], { device })).shape, [0, 3]);
          const far = [-1e30, -90, -12, -0, 0, 12, 90, 1e30];
          const x = ops
            .cat(
              far.map((value) => zeros([1]).add(value)),
              0,
            )
            .to({ device });
          assertClose(ours(x), plain(x.to({ device: "cpu" })), 1e-6, `${name} far out`);
          const turned = randn([5, 7]).to({ device });
          assertClose(ours(turned.t()), plain(turned.to({ device: "cpu" }).t()), 1e-6, `${name} turned`);
        });
      });
    }

    test("patches of bytes in all dtypes, whole images and some places of them", unless(tested), () => {
      const colours = { scale: [0.017, 0.0175, 0.0174], shift: [-2.1, -2, -1.8] } as const;
      for (const [side, patch] of [
        [12, 4],
        [32, 16],
        [15, 5],
        [14, 7],
        [8, 8],
        [28, 14],
        // More numbers than a block has at once, and more patches than there are blocks.
        [64, 32],
        [42, 1],
      ] as const) {
        for (const dtype of dtypes) {
          scope(() => {
            const bytes = Uint8Array.from({ length: 3 * side * side * 3 }, (_, i) => (i * 89 + (i >> 8)) % 256);
            const pixels = Tensor.from(bytes, [3, side, side, 3]);
            const places = (side / patch) ** 2;
            const kept = tensor([[places - 1], [0], [places >> 1]], { dtype: "int64" });
            for (const some of [undefined, kept]) {
              const expected = cutPatches(pixels, colours, patch, some).to(dtype);
              const found = withProducts(dtype, () => cutPatches(pixels.to({ device }), colours, patch, some?.to({ device })));
              assert.equal(found.dtype, dtype);
              assert.deepEqual([found.shape, found.toArray()], [expected.shape, expected.toArray()], `${side}, ${patch}, ${dtype}`);
            }
            const none = Tensor.from(new Uint8Array(), [0, side, side, 3]).to({ device });
            assert.deepEqual(cutPatches(none, colours, patch).shape, [0, places, 3 * patch * patch]);
          });
        }
      }
    });

    test("an image tower reads bytes as it reads normalised images, to the last bit, with our kernels and without", unless(tested), () => {
      const layer = new PatchEmbedding({ imageSize: 32, patchSize: 8, width: 12, depth: 1, heads: 1, qkNorm: false }).moveTo(device);
      const pixels = Uint8Array.from({ length: 2 * 32 * 32 * 3 }, (_, i) => (i * 89 + (i >> 8)) % 256);
      const kept = tensor([0, 15, 7, 7, 3, 1], { dtype: "int64" }).view(2, 3);
      try {
        for (const kernels of ["on", "off"]) {
          process.env["LACLIP_KERNELS"] = kernels;
          // The stand-in's products go by no autocast.
          for (const dtype of device.startsWith("cuda") ? dtypes : (["float32"] as const)) {
            scope(() => {
              assert.equal(canCutPatches(device), kernels === "on");
              // Part of a larger tensor, as in training; and normalised on the processor.
              const three = Tensor.from(Uint8Array.of(...pixels.subarray(0, pixels.length / 2), ...pixels), [3, 32, 32, 3]);
              const [bytes, onProcessor] = [three.to({ device }), three].map((all) => ({
                bytes: all.slice(0, 1, 3),
                preprocessing: imagenetPreprocessing,
              })) as [ByteImages, ByteImages];
              const normalised = normalizeImages(onProcessor);
              for (const some of [undefined, kept]) {
                const cut = withProducts(dtype, () => imagePatches(bytes, 8, some?.to({ device })).to(dtype));
                const expected = imagePatches(normalised, 8, some).to(dtype);
                assert.deepEqual([cut.shape, cut.toArray()], [expected.shape, expected.toArray()], `${dtype}, kernels ${kernels}`);
                const [ours, plain] = withProducts(dtype, () =>
                  [bytes, normalised.to({ device })].map((images) => layer.forward(images, some?.to({ device }))),
                ) as [Tensor, Tensor];
                assert.deepEqual([ours.dtype, ours.toArray()], [plain.dtype, plain.toArray()], `${dtype}, kernels ${kernels}`);
              }
            });
          }
        }
      } finally {
        delete process.env["LACLIP_KERNELS"];
        layer.dispose();
      }
    });

    test("a layer leaves its bias's gradient to what follows, and has it none the less", unless(tested), () => {
      const follow = { gelu, heads: (y: Tensor, bias?: Tensor) => ops.cat(splitHeads(y, 2, undefined, bias), -1) };
      for (const [name, then] of Object.entries(follow)) {
        for (const kernels of ["on", "off"]) {
          process.env["LACLIP_KERNELS"] = kernels;
          try {
            scope(() => {
              compare(
                device,
                [randn([3, 5, 7]), randn([12, 7]), randn([12])],
                ([x, w, b]) => [linearThen(x!, w!, b, then)],
                ([x, w, b]) => [then(ops.linear(x!, w!, b))],
                close.float32,
                `${name}, kernels ${kernels}`,
              );
              const [x, w, b] = [randn([3, 5, 7]), randn([12, 7]), randn([12])].map((one) => one.to({ device })) as [
                Tensor,
                Tensor,
                Tensor,
              ];
              w.setRequiresGrad();
              linearThen(x, w, b, then).sum().backward();
              assert.equal(b.grad, undefined, "of a frozen bias");
              linearThen(x, w, undefined, then).sum().backward();
            });
          } finally {
            delete process.env["LACLIP_KERNELS"];
          }
        }
      }
    });

    test("what does not fit is refused by name", unless(tested), () => {
      scope(() => {
        const [x, w] = [randn([4, 8]).to({ device }), randn([8]).to({ device })];
        assert.throws(() => addNorm(x, randn([4, 7]).to({ device }), norm(w, w)), /change must have the shape of residual/);
        assert.throws(() => addNorm(x, undefined, norm(w, randn([8]))), /bias must be float32\[8\] on .*, got .* on cpu/);
        assert.throws(() => splitHeads(randn([2, 3, 10]).to({ device }), 2), /with 2 heads, got \[2, 3, 10\]/);
        const activate = operator<(x: Tensor, quick: boolean) => Tensor>("laclip::activate", "", "tensor");
        assert.throws(() => gelu(x, randn([7]).to({ device })), /bias must be float32\[8\]/);
        assert.throws(() => activate(x.to("int64"), true), /x must be float32, bfloat16 or float16, got Long/);
        assert.throws(() => activate(randn([3]), true), /no kernel for cpu/);
      });
    });
  });
}
