/**
 * The addon in several JavaScript threads at once. Prints what was seen, as JSON; `exit` ends the process while a worker is busy.
 *
 *   node workers.js all|exit
 */
import { Worker } from "node:worker_threads";
import { memoryInfo, native, noGrad, ones, randn, scope, setThreads } from "../../../src/torch/index.ts";

function spawn(task: string, data: object = {}): Worker {
  return new Worker(new URL("worker.js", import.meta.url), { workerData: { task, ...data } });
}

function answer(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** A worker in the middle of its work, with ten thousand tensors. */
async function busyWorker(): Promise<Worker> {
  const worker = spawn("busy");
  await answer(worker);
  return worker;
}

const sum = (): number =>
  scope(() =>
    ones([64, 64])
      .matmul(ones([64, 64]))
      .sum()
      .item(),
  );

setThreads(1);
if (process.argv[2] === "exit") {
  sum();
  await busyWorker();
  process.stdout.write("leaving");
  process.exit(0);
}

const seen: Record<string, unknown> = {};

// Both at once: the main thread computes while the worker fits.
const fitting = answer(spawn("fit"));
let rounds = 0;
let wrong = 0;
let done = false;
void fitting.then(() => (done = true));
while (!done) {
  if (sum() !== 64 ** 3) wrong++;
  rounds++;
  await new Promise((resolve) => setImmediate(resolve));
}
seen["fit"] = await fitting;
seen["rounds"] = rounds;
seen["wrong"] = wrong;

// Modes of the main thread do not reach a worker.
native().setGradMode(false);
native().setAutocast("cpu", "bfloat16");
try {
  seen["modes"] = await answer(spawn("modes"));
} finally {
  native().setAutocast("cpu", undefined);
  native().clearAutocastCache();
  native().setGradMode(true);
}

// Handles of the main thread mean nothing in a worker.
const own = Array.from({ length: 20 }, () => randn([2]));
seen["foreign"] = await Promise.all([own[0]!, own[10]!].map(({ handle }) => answer(spawn("foreign", { handle }))));
seen["kept"] = own.every((tensor) => tensor.shape[0] === 2);

// Three times a worker ends in the middle of an operation, and the next one works as the first.
const before = memoryInfo();
const codes: number[] = [];
for (let i = 0; i < 3; i++) codes.push(await (await busyWorker()).terminate());
seen["codes"] = codes;
seen["after"] = { fit: await answer(spawn("fit")), sum: sum(), same: JSON.stringify(memoryInfo()) === JSON.stringify(before) };
seen["recorded"] = scope(() => noGrad(() => ones([1]).setRequiresGrad().mul(1).requiresGrad));
process.stdout.write(JSON.stringify(seen));
