/**
 * What our kernels move a second, each by itself, beside the plain operators that they stand for: ViT-B/16 under bfloat16.
 *
 *   node dist/bench/gpu/kernels.js --device cuda
 *
 * Prints one JSON object: for each operator, the bytes that it can't do without, and by way the gigabytes of those a second, forward, and forward
 * and backward together where there is a way back. Plain operators move more bytes than these, which is the point.
 */
import { parseArgs } from "node:util";
import {
  Tensor,
  addNorm,
  autocast,
  deviceName,
  findDevice,
  gelu,
  native,
  ones,
  quickGelu,
  randn,
  scope,
  splitHeads,
  synchronize,
  zeros,
} from "../../src/torch/index.ts";
import { imagePatches, imagenetPreprocessing } from "../../src/models/index.ts";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    batch: { type: "string", default: "256" },
    repeat: { type: "string", default: "20" },
  },
});
const device = findDevice(values.device);
const [batch, tokens, heads, width, repeat] = [Number(values.batch), 197, 12, 768, Number(values.repeat)];
const [side, patch] = [224, 16];
const activations = batch * tokens * width;

const on = { device };
const norm = (size: number) => ({
  weight: ones([size], on).keep().setRequiresGrad(),
  bias: zeros([size], on).keep().setRequiresGrad(),
  eps: 1e-6,
});
const [blockNorm, query, key, bias] = [norm(width), norm(width / heads), norm(width / heads), zeros([4 * width], on).keep()];
const drawn = (columns: number, dtype: "float32" | "bfloat16"): Tensor => scope(() => randn([batch, tokens, columns], on).to(dtype)).keep();

interface Case {
  name: string;
  inputs: readonly Tensor[];
  compute: (inputs: Tensor[]) => Tensor[];
  /** How many there are: numbers of the width of all tokens, unless it says otherwise. */
  numbers?: number;
  /** Bytes for each of the numbers, forward and backward; 0 where there is no way back. */
  bytes: readonly [number, number];
  /** There is no plain operator for it. */
  oursAlone?: boolean;
}
const hidden = drawn(4 * width, "bfloat16");
const cases: readonly Case[] = [
  {
    name: "sum and norm",
    inputs: [drawn(width, "float32"), drawn(width, "bfloat16")],
    compute: ([x, change]) => addNorm(x!, change, blockNorm),
    bytes: [12, 16],
  },
  {
    name: "heads with norms",
    inputs: [drawn(3 * width, "bfloat16")],
    compute: ([x]) => splitHeads(x!, heads, { query, key }),
    bytes: [8, 16],
  },
  { name: "gelu", inputs: [hidden], compute: ([x]) => [gelu(x!)], bytes: [16, 24] },
  {
    name: "gelu, with the gradient of a bias",
    inputs: [hidden, bias],
    compute: ([x, own]) => [gelu(x!, own)],
    bytes: [16, 24],
    oursAlone: true,
  },
  { name: "quick gelu", inputs: [hidden], compute: ([x]) => [quickGelu(x!)], bytes: [16, 24] },
  {
    name: "bytes to patches",
    inputs: [Tensor.from(new Uint8Array(batch * side * side * 3).fill(99), [batch, side, side, 3], on).keep()],
    // The cast of plain operators is left to the product elsewhere.
    compute: ([bytes]) => [imagePatches({ bytes: bytes!, preprocessing: imagenetPreprocessing }, patch).to("bfloat16")],
    numbers: batch * side * side * 3,
    bytes: [3, 0],
  },
];

/** Seconds of one call, the best of three rounds. */
function seconds({ inputs, compute }: Case, back: boolean): number {
  const call = (gradients?: readonly Tensor[]): void =>
    scope(() => {
      const leaves = inputs.map((input) => (back ? input.detach().setRequiresGrad() : input.detach()));
      const outputs = compute(leaves);
      if (gradients !== undefined) {
        native().backward(
          outputs.map(({ handle }) => handle),
          gradients.map(({ handle }) => handle),
        );
      }
    });
  return scope(() => {
    const gradients = back ? compute([...inputs]).map((output) => ones(output.shape, on).to(output.dtype)) : undefined;
    call(gradients);
    const rounds = [0, 1, 2].map(() => {
      synchronize(device);
      const started = performance.now();
      for (let i = 0; i < repeat; i++) call(gradients);
      synchronize(device);
      return (performance.now() - started) / 1000 / repeat;
    });
    return Math.min(...rounds);
  });
}

const round = (rate: number): number => Math.round(rate / 1e9);
const operators = cases.map((one) => {
  const ways = Object.fromEntries(
    (one.oursAlone ? ["ours"] : ["ours", "plain"]).map((way) => {
      process.env["LACLIP_KERNELS"] = way === "ours" ? "on" : "off";
      const { numbers = activations, bytes } = one;
      const [there, back] = bytes;
      const forward = autocast(device, "bfloat16", () => seconds(one, false));
      const both = back === 0 ? undefined : autocast(device, "bfloat16", () => seconds(one, true));
      return [
        way,
        { forward: round((numbers * there) / forward), ...(both !== undefined && { both: round((numbers * (there + back)) / both) }) },
      ];
    }),
  );
  return { name: one.name, bytes: one.bytes, ...ways };
});
process.stdout.write(
  `${JSON.stringify({ program: "kernels", gpu: deviceName(device) ?? device, ...values, gigabytesPerSecond: operators })}\n`,
);
