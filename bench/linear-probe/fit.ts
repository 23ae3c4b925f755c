/** One fit in a process of its own, for compare.ts: `node fit.js FOLDER C THREADS TOLERANCE`. What it prints and leaves is that of peer.py. */
import { LogisticRegression } from "../../src/evaluation/index.ts";
import { readNpy, writeNpy } from "../../src/formats/index.ts";
import { Tensor, scope, setThreads } from "../../src/torch/index.ts";

const [folder, strength, threads, tolerance] = process.argv.slice(2) as [string, string, string, string];
setThreads(Number(threads));
const { data, shape } = readNpy(`${folder}/features.npy`);
const labels = readNpy(`${folder}/labels.npy`).data as Int32Array;
const features = Tensor.from(data, shape);
const classes = labels.reduce((most, label) => Math.max(most, label + 1), 0);

// Everything that a fit needs counts: the Gram matrix and its eigenvectors too.
const started = performance.now();
const before = process.cpuUsage();
const regression = new LogisticRegression({ features, labels }, classes);
const fit = await regression.fit(Number(strength), undefined, { tolerance: Number(tolerance) });
const seconds = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage(before);

scope(() => {
  const width = shape[1]!;
  const weights = fit.parameters.slice(0, 0, width).t().contiguous();
  const bias = fit.parameters.select(0, width).sub(regression.scaling.mean.unsqueeze(0).matmul(weights.t()).squeeze(0));
  writeNpy(`${folder}/weights.npy`, { dtype: "float64", shape: weights.shape, data: weights.toTypedArray() as Float64Array });
  writeNpy(`${folder}/bias.npy`, { dtype: "float64", shape: bias.shape, data: bias.toTypedArray() as Float64Array });
});
process.stdout.write(
  `${JSON.stringify({ seconds, processor: (user + system) / 1e6, iterations: fit.iterations, converged: fit.converged })}\n`,
);
