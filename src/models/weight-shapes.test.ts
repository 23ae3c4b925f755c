import assert from "node:assert/strict";
import { test } from "node:test";
import { Clip } from "./clip.ts";
import type { ClipConfig } from "./config.ts";
import { presets } from "./presets.ts";
import { weightShapes } from "./weight-shapes.ts";

const { nano, tiny } = presets;
const shapes: Record<string, ClipConfig> = {
  nano,
  tiny,
  "open-clip-nano": presets["open-clip-nano"],
  "without norms of queries, with bias and head": {
    ...nano,
    vision: { ...nano.vision, qkNorm: false },
    logitBias: -10,
    viewHead: { hidden: 8, width: 4 },
  },
};

for (const [name, config] of Object.entries(shapes)) {
  test(`names and shapes from the description are those of the model: ${name}`, () => {
    const model = new Clip(config);
    const own = new Map(Array.from(model.namedParameters(), ([parameter, tensor]) => [parameter, tensor.shape]));
    model.dispose();
    assert.deepEqual(new Map([...weightShapes(config)].sort()), new Map([...own].sort()));
  });
}
