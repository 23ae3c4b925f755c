/**
 * What runs inside a worker; `workerData.task` says what. Answers with one message, or works until it is terminated.
 */
import { parentPort, workerData } from "node:worker_threads";
import { AdamW } from "../../../src/optim/index.ts";
import {
  autocast,
  manualSeed,
  memoryInfo,
  native,
  noGrad,
  ops,
  randn,
  scope,
  setThreads,
  tensor,
  zeros,
} from "../../../src/torch/index.ts";

const { task, handle } = workerData as { task: string; handle?: number };
setThreads(1);

/** Fits a linear map and returns the last loss. */
function fit(): number {
  return scope(() => {
    const x = randn([32, 8]);
    const target = x.matmul(randn([8, 4]));
    const weight = zeros([8, 4]).setRequiresGrad();
    const optimizer = new AdamW([{ parameters: new Map([["w", weight]]), weightDecay: 0 }], { betas: [0.9, 0.99], eps: 1e-8 });
    let last = Infinity;
    for (let step = 0; step < 300; step++) {
      scope(() => {
        const loss = x.matmul(weight).sub(target).pow(2).mean();
        loss.backward();
        optimizer.step(0.05);
        weight.grad = undefined;
        last = loss.item();
      });
    }
    optimizer.dispose();
    return last;
  });
}

function modes(): object {
  return scope(() => {
    const weight = tensor([[1, 2]]).setRequiresGrad();
    return {
      grad: native().gradMode(),
      recorded: weight.mul(2).requiresGrad,
      dtype: weight.matmul(tensor([[1], [1]])).dtype,
      inside: autocast("cpu", "bfloat16", () => noGrad(() => weight.matmul(tensor([[1], [1]])))).dtype,
      live: memoryInfo().live,
    };
  });
}

/** Tries the handle of another thread wherever one is taken; every try must fail. */
function foreign(): string[] {
  const own = Array.from({ length: 50 }, () => zeros([1]));
  const tries = [
    () => native().shape(handle!),
    () => native().toBytes(handle!),
    () => native().release(handle!),
    () => native().isSame(own[0]!.handle, handle!),
    () => native().releaseMany(Float64Array.of(handle!), 1),
  ];
  return tries.map((attempt) => {
    try {
      attempt();
      return "accepted";
    } catch (error) {
      return (error as Error).message;
    }
  });
}

/** Holds many tensors and never leaves the library for long: whoever terminates this worker does so in the middle of an operation. */
function busy(): never {
  const held = Array.from({ length: 10_000 }, (_, i) => ops.full([16], i));
  const leaf = randn([384, 384]).setRequiresGrad();
  parentPort!.postMessage(held.length);
  for (;;)
    scope(() =>
      autocast("cpu", "bfloat16", () => leaf.matmul(leaf))
        .to("float32")
        .mean()
        .backward(),
    );
}

switch (task) {
  case "fit":
    manualSeed(3);
    parentPort!.postMessage(fit());
    break;
  case "modes":
    parentPort!.postMessage(modes());
    break;
  case "foreign":
    parentPort!.postMessage(foreign());
    break;
  case "busy":
    busy();
  default:
    throw new Error(`unknown task ${task}`);
}
