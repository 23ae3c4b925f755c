/** Compiles a kernel, or reads it from the folder that it is called with, and says how often the compiler worked. */
import { native } from "../../../src/torch/index.ts";

const [compiler, folder] = process.argv.slice(2) as [string, string];
const names = ["THREADS", "COLUMNS", "TYPE", "QUICK", "WHOLE"];
const code = native().compileKernels(compiler, "sm_90", "activation", names, [128, 8, 1, 1, 1], folder);
process.stdout.write(JSON.stringify({ bytes: code.byteLength, compilations: native().kernelCompilations() }));
