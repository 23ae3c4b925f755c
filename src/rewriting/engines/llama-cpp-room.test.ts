import assert from "node:assert/strict";
import { test } from "node:test";
import { describeRoom, drawingHint, shortcomings } from "./llama-cpp-room.ts";

const h100 = { gpu: true, devices: ["NVIDIA H100"], layers: { onGpu: 33, all: 33 }, sequences: 64, wanted: 64 };

test("a run says in a line what it computes on", () => {
  const room = {
    layers: { onGpu: 33, all: 33 },
    free: 78.5 * 2 ** 30,
    total: 79.6 * 2 ** 30,
    threads: 15,
    sequences: 64,
    contextSize: 512,
  };
  assert.equal(
    describeRoom({ ...room, gpu: "cuda", devices: ["NVIDIA H100"] }),
    "llama.cpp: NVIDIA H100 (cuda, 78.5 of 79.6 GiB were free), 33 of 33 layers; 64 captions at once, 512 tokens each",
  );
  assert.equal(
    describeRoom({ ...room, gpu: null, devices: [], threads: 1, sequences: 1 }),
    "llama.cpp: the processor, one thread; one caption at once, 512 tokens each",
  );
});

test("what makes it slower is said, and nothing else", () => {
  assert.deepEqual(shortcomings(h100), []);
  assert.deepEqual(shortcomings({ ...h100, gpu: false, devices: [], layers: { onGpu: 0, all: 33 } }), []);
  const [layers, ...others] = shortcomings({ ...h100, layers: { onGpu: 20, all: 33 } });
  assert.match(layers!, /holds 20 of the model's 33 layers/);
  assert.deepEqual(others, []);
  assert.match(shortcomings({ ...h100, sequences: 16 })[0]!, /memory for 16 captions at once, not for 64/);
  assert.match(shortcomings({ ...h100, devices: ["A", "B"] })[0]!, /spread over 2 GPUs.*CUDA_VISIBLE_DEVICES and --shard/);
});

test("more threads for drawing are proposed where there are cores and captions for them", () => {
  assert.match(drawingHint(4, 16, 64)!, /by 4 threads; UV_THREADPOOL_SIZE=16 .* its 16 cores/);
  assert.match(drawingHint(4, 16, 8)!, /UV_THREADPOOL_SIZE=8 /);
  assert.equal(drawingHint(4, 2, 64), undefined);
  assert.equal(drawingHint(16, 16, 64), undefined);
});
