/**
 * What one small call costs here, in microseconds: the counterpart of peer.py, with scopes as a training loop has them.
 *
 *   node dist/bench/overhead/calls.js
 *   python3 bench/overhead/peer.py
 */
import { ops, randn, scope, setThreads, tensor, torchInfo } from "../../src/torch/index.ts";

setThreads(1);
const [a, b] = [tensor(1), tensor(2)];
const square = randn([2, 2]);
const x = randn([2, 2]);
const weight = randn([2, 2]).setRequiresGrad();
const total = tensor(0);

const cases: Record<string, () => unknown> = {
  add: () => ops.addTensor(a, b),
  add_: () => ops.addTensor_(total, b),
  view: () => square.view(4),
  "linear 2x2 with gradient": () => ops.linear(x, weight),
};

/** Median over rounds of the mean over calls; a scope ends every 100 calls. */
function microseconds(call: () => unknown, calls = 100_000, rounds = 9): number {
  const found: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const started = performance.now();
    for (let i = 0; i < calls; i += 100) {
      scope(() => {
        for (let j = 0; j < 100; j++) call();
      });
    }
    if (round >= 0) found.push(((performance.now() - started) * 1000) / calls);
  }
  return found.toSorted((one, other) => one - other)[Math.floor(rounds / 2)]!;
}

const results = Object.fromEntries(Object.entries(cases).map(([name, call]) => [name, Number(microseconds(call).toFixed(3))]));
process.stdout.write(`${JSON.stringify({ torch: torchInfo().version, microseconds: results })}\n`);
