/** Uses a kernel on the first GPU: says what came out, and how often the compiler worked for it. */
import { gelu, native, scope, tensor } from "../../../src/torch/index.ts";

const numbers = Array.from({ length: 64 }, (_, i) => (i - 32) / 8);
const problem = native().kernelProblem("cuda:0");
const values = scope(() => gelu(tensor(numbers, { device: "cuda:0", dtype: "bfloat16" })).toArray());
process.stdout.write(JSON.stringify({ problem: problem ?? "none", values, compilations: native().kernelCompilations() }));
