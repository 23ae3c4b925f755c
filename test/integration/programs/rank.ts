/**
 * One of several processes that compute together; the first argument says what. Prints one line of JSON: what this rank has seen.
 *
 * Every task is also run by one rank with the whole batch: rows are drawn for all ranks from one seed, and each takes its own.
 */
import { GradientReducer, ProcessGroup } from "../../../src/distributed/index.ts";
import { Clip, preset } from "../../../src/models/index.ts";
import { BatchNorm } from "../../../src/nn/index.ts";
import { ClipLoss } from "../../../src/objectives/index.ts";
import {
  arange,
  type Tensor,
  full,
  manualSeed,
  noGrad,
  ones,
  ops,
  randn,
  scope,
  setThreads,
  tensor,
  zeros,
} from "../../../src/torch/index.ts";

const batch = 8;
setThreads(1);
const group = ProcessGroup.find();
const [rank, ranks] = [group?.rank ?? 0, group?.ranks ?? 1];

/** This rank's part of the rows. */
const own = (rows: Tensor): Tensor => ops.chunk(rows, ranks)[rank]!.contiguous();

function gradients(named: Iterable<readonly [string, Tensor]>): Record<string, number[]> {
  return Object.fromEntries(Array.from(named, ([name, leaf]) => [name, leaf.grad?.toArray() ?? []]));
}

const tasks: Record<string, () => unknown> = {
  operations() {
    const sum = group!.sum_(tensor([1, 10 ** rank])).toArray();
    const received = full([3], rank);
    group!.broadcast([received], 1);
    return {
      sum,
      gathered: group!.gather(full([2, 3], rank)).toArray(),
      received: received.toArray(),
      means: group!.means([rank, 1]),
      any: [group!.any(rank === 1), group!.any(false)],
      first: group!.ofFirst([40 + rank]),
      value: group!.valueOfFirst(rank === 0 ? { text: "först", list: [1, null] } : undefined),
      whole: group!.gather(arange(rank, rank + 2)).toArray(),
    };
  },

  /** The loss of a whole small model, its gradients reduced while the backward pass runs, in one bucket or in many. */
  clip() {
    const model = new Clip(preset("nano"), { seed: 5 });
    manualSeed(7);
    const images = own(randn([batch, 3, 16, 16]));
    const tokens = own(ops.randint(400, [batch, 12], "int64"));
    const reducers =
      group === undefined ? [undefined] : [20_000, 1e9].map((bytes) => new GradientReducer(group, model.parameters(), bytes));
    const runs = reducers.map((reducer) =>
      scope(() => {
        reducer?.arm();
        const report = new ClipLoss({}, group).forward({
          imageFeatures: model.encodeImages(images),
          textFeatures: model.encodeTexts(tokens),
          logitScale: model.logitScale.exp(),
        });
        report.loss.backward();
        reducer?.finish();
        const named = gradients(model.namedParameters());
        model.zeroGrad();
        const own = [report.loss.item(), report.metrics["accuracy"]!.item()];
        return { loss: group?.means(own) ?? own, named, bytes: reducer?.bytes };
      }),
    );
    const sizes = [...model.parameters()].reduce((bytes, { size }) => bytes + 4 * size, 0);
    return { runs, sizes };
  },

  /** Two backward passes that accumulate, of which the last is followed; one parameter that is never used. */
  accumulated() {
    manualSeed(3);
    const [weight, unused] = [randn([4, 3]).setRequiresGrad(), ones([5]).setRequiresGrad()];
    const rows = own(randn([batch, 4]));
    const reducer = group && new GradientReducer(group, [weight, unused]);
    for (const [i, part] of ops.chunk(rows, 2).entries()) {
      if (i === 1) reducer?.arm();
      part.matmul(weight).pow(2).mean().div(2).backward();
    }
    reducer?.finish();
    const twice = weight.grad!.toArray();
    weight.grad = undefined;
    reducer?.arm();
    rows.matmul(weight).pow(2).mean().backward();
    reducer?.finish();
    return { twice, once: weight.grad!.toArray(), unused: unused.grad === undefined };
  },

  batchNorm() {
    manualSeed(11);
    const whole = randn([batch, 6]).mul(3).add(50);
    const target = own(randn([batch, 6]));
    const x = own(whole).setRequiresGrad();
    const norm = new BatchNorm(6);
    const { weight, bias } = norm;
    noGrad(() => [weight, bias].forEach((parameter) => parameter.copy_(randn([6]))));
    const reducer = group && new GradientReducer(group, [weight, bias]);
    reducer?.arm();
    const out = norm.forward(x, group);
    out.sub(target).pow(3).mean().backward();
    reducer?.finish();
    const ofRows = { out: out.toArray(), x: x.grad!.toArray().map((value) => value / ranks) };
    return {
      ...ofRows,
      weight: weight.grad!.toArray(),
      bias: bias.grad!.toArray(),
    };
  },

  /** Ranks whose weights are not the same. */
  unequal() {
    group!.checkEqual([arange(0, 9)], "These");
    const differing = zeros([9]);
    if (rank === 1) differing.copyFrom(Float32Array.of(0, 0, 0, 0, 0, 0, 0, 0, -0));
    try {
      group!.checkEqual([differing], "These");
      return "passed";
    } catch (error) {
      return (error as Error).message;
    }
  },

  /** Rank 1 dies; the others wait for it. */
  death() {
    group!.any(false);
    if (rank === 1) process.kill(process.pid, "SIGKILL");
    try {
      group!.sum_(zeros([1000]));
      return "passed";
    } catch (error) {
      return (error as Error).message;
    }
  },

  wrong() {
    const refused = (call: () => unknown): string => {
      try {
        return String(call());
      } catch (error) {
        return String(error);
      }
    };
    const answers = [
      refused(() => group!.sum_(zeros([4, 4]).t())),
      refused(() => group!.sum_(zeros([4], { dtype: "bfloat16" }))),
      refused(() => group!.broadcast([zeros([1])], 9)),
      refused(() => group!.gather(tensor(1))),
      refused(() => group!.checkEqual([zeros([2], { device: "meta" })], "These")),
    ];
    group!.close();
    return [...answers, refused(() => group!.any(false))];
  },
};

const answer = tasks[process.argv[2]!]!();
process.stdout.write(`${JSON.stringify(answer)}\n`);
