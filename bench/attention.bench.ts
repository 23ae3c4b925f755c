/**
 * Attention in float32 on the CPU, our operator and libtorch's: forward and backward, of the shapes that towers have.
 *
 *   node dist/bench/attention.bench.js [--rounds 15] [--threads 2]
 *
 * libtorch's is `scaled_dot_product_attention`, and before 2.0, which has none, product, softmax and product. Both in turn, round for round;
 * prints Markdown with the median of the rounds.
 */
import { parseArgs } from "node:util";
import { Tensor, attention, causalMask, hasOperator, operator, randn, scope, setThreads, threads, torchInfo } from "../src/torch/index.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "15" }, threads: { type: "string", default: "2" } },
});
setThreads(Number(values.threads));

/** Shapes: B samples, H heads, N tokens, D deep. */
const shapes: [what: string, shape: [B: number, H: number, N: number, D: number], causal?: boolean][] = [
  ["images of the demo's model", [256, 6, 17, 32]],
  ["texts of the demo's model", [256, 4, 12, 32], true],
  ["texts of ViT-B/16", [64, 8, 22, 64], true],
  ["images of ViT-B/32", [32, 12, 50, 64]],
  ["images of ViT-S/16", [16, 12, 197, 32]],
  ["images of ViT-B/16", [16, 12, 197, 64]],
  ["images of ViT-B/16 at 384 px", [4, 12, 577, 64]],
  ["more than any of our models has", [2, 12, 1025, 64]],
];

type Attention = (q: Tensor, k: Tensor, v: Tensor, mask: Tensor | undefined) => Tensor;
const fused = operator<(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | null) => Tensor>(
  "aten::scaled_dot_product_attention",
  "",
  "tensor",
);
const isThere = hasOperator("aten::scaled_dot_product_attention");
const ways: Record<"ours" | "libtorch", Attention> = {
  ours: (q, k, v, mask) => attention(q, k, v, mask),
  libtorch(q, k, v, mask) {
    if (isThere) return fused(q, k, v, mask ?? null);
    const scores = q.mul(1 / Math.sqrt(q.sizeOf(-1))).matmul(k.transpose(-2, -1));
    return (mask ? scores.add(mask) : scores).softmax(-1).matmul(v);
  },
};

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;

/** Milliseconds of one way forth and back. */
function time(way: Attention, [batch, heads, tokens, depth]: [number, number, number, number], causal: boolean): number {
  return scope(() => {
    const [q, k, v] = [0, 1, 2].map(() => randn([batch, heads, tokens, depth]).setRequiresGrad()) as [Tensor, Tensor, Tensor];
    const mask = causal ? causalMask(tokens, "cpu") : undefined;
    const weights = randn([batch, tokens, heads * depth]);
    const started = performance.now();
    way(q, k, v, mask)
      .transpose(1, 2)
      .reshape(batch, tokens, heads * depth)
      .mul(weights)
      .sum()
      .backward();
    return performance.now() - started;
  });
}

const warmup = 3;
const lines = shapes.map(([what, shape, causal = false]) => {
  const taken: Record<string, number[]> = { ours: [], libtorch: [] };
  for (let round = 0; round < warmup + Number(values.rounds); round++) {
    for (const [name, way] of Object.entries(ways)) {
      const ms = time(way, shape, causal);
      if (round >= warmup) taken[name]!.push(ms);
    }
  }
  const [ours, theirs] = [median(taken["ours"]!), median(taken["libtorch"]!)];
  return `| ${what} | ${shape.join(" x ")} | ${ours.toFixed(1)} | ${theirs.toFixed(1)} | ${(ours / theirs).toFixed(2)} |`;
});
process.stdout.write(
  [
    `libtorch ${torchInfo().version}, ${threads()} threads, ${values.rounds} rounds`,
    "",
    "| | samples x heads x tokens x depth | ours, ms | libtorch, ms | ratio |",
    "|---|---|--:|--:|--:|",
    ...lines,
    "",
  ].join("\n"),
);
