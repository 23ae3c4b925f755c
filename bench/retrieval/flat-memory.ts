/**
 * Time and memory of retrieval between many images and texts.
 *
 *   node dist/bench/retrieval/flat-memory.js [--images 30000] [--texts 150000] [--width 512]
 *
 * The features are random; what is measured does not depend on them. All similarities at once would take 4 bytes times images times texts.
 */
import { parseArgs } from "node:util";
import { retrieval } from "../../src/evaluation/index.ts";
import { manualSeed, randn } from "../../src/torch/index.ts";

const { values } = parseArgs({
  options: {
    images: { type: "string", default: "30000" },
    texts: { type: "string", default: "150000" },
    width: { type: "string", default: "512" },
  },
});
const [images, texts, width] = [values.images, values.texts, values.width].map(Number) as [number, number, number];

manualSeed(1);
const [seen, read] = [randn([images, width]), randn([texts, width])];
const owners = Int32Array.from({ length: texts }, (_, text) => Math.floor((text * images) / texts));
const before = process.resourceUsage().maxRSS;
const started = performance.now();
const { metrics } = await retrieval(seen, read, owners);
const seconds = (performance.now() - started) / 1000;
const megabytes = (kilobytes: number): string => `${(kilobytes / 1000).toFixed(0)} MB`;
process.stdout.write(
  `${images} x ${texts} at ${width}: ${seconds.toFixed(1)} s; the process had ${megabytes(process.resourceUsage().maxRSS)} at most, ` +
    `${megabytes(before)} of them before; all similarities would be ${megabytes((4 * images * texts) / 1024)}.\n` +
    `image recall at 10: ${metrics["image_retrieval_recall@10"]!.toFixed(5)} (by chance ${(10 / images).toFixed(5)})\n`,
);
