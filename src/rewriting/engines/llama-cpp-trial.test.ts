import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gpuComplaint, tryLlamaCpp } from "./llama-cpp-trial.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-trial-test-"));
after(() => rmSync(folder, { recursive: true }));
// A folder of its own for what is temporary: in the machine's, another test may be at its own trial.
process.env["TMPDIR"] = folder;

const library = await import("node-llama-cpp").catch(() => undefined);
const needsLlama = { skip: library ? false : "node-llama-cpp is not installed" };

function program(name: string, text: string): string {
  const path = join(folder, `${name}.mjs`);
  writeFileSync(path, text);
  return path;
}

const started = `process.stdout.write(JSON.stringify({ version: "1", gpu: "cuda", devices: ["NVIDIA X"] }) + "\\n");`;

test("llama.cpp computes with the trial's model on the processor", needsLlama, async () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith("laclip-gpu-trial-"));
  const trial = await tryLlamaCpp(false);
  assert.deepEqual({ ...trial, version: "" }, { version: "", gpu: null, devices: [], failure: null });
  const left = readdirSync(tmpdir()).filter((name) => name.startsWith("laclip-gpu-trial-"));
  assert.deepEqual(left, before, "the model of the trial is left behind");
});

test("a trial that is ended, that fails and that does not start are told apart", async () => {
  const aborts = program(
    "aborts",
    `${started} process.stderr.write("noise\\n/src/ggml-cuda.cu:97: CUDA error\\n"); setTimeout(() => process.abort(), 20);`,
  );
  assert.deepEqual(await tryLlamaCpp("cuda", aborts), { version: "1", gpu: "cuda", devices: ["NVIDIA X"], failure: "CUDA error" });
  const silent = await tryLlamaCpp("cuda", program("silent", `${started} setTimeout(() => process.abort(), 20);`));
  assert.equal(silent?.failure, "it was ended by SIGABRT");
  // One that computed and then ended badly would end badly in the work too.
  const late = program("late", `${started} process.stdout.write('{"computes":true}\\n'); process.exitCode = 7;`);
  assert.equal((await tryLlamaCpp("cuda", late))?.failure, "exit code 7");
  assert.equal(await tryLlamaCpp("cuda", program("missing", `import "there-is-no-such-package";`)), undefined);
});

test("what keeps llama.cpp from a GPU is said with what to do, and nothing where nothing does", () => {
  const h100 = { gpu: "cuda", devices: ["NVIDIA H100 80GB HBM3"], failure: "CUDA error" } as const;
  const complaint = gpuComplaint(h100, { driver: "580.159.04" });
  assert.equal(complaint?.what, "llama.cpp can't compute on the GPU (NVIDIA H100 80GB HBM3, cuda, driver 580.159.04): CUDA error.");
  assert.match(complaint.mend, /CUDA 13\.1 or newer.*source download --gpu cuda/);
  assert.match(gpuComplaint({ gpu: "vulkan", devices: [], failure: "x" }, undefined)!.what, /\(unknown, vulkan\): x/);
  assert.match(
    gpuComplaint({ gpu: null, devices: [], failure: null }, { driver: undefined })!.what,
    /does not find libcudart and libcublas/,
  );
  assert.equal(gpuComplaint({ gpu: null, devices: [], failure: null }, undefined), undefined);
  assert.equal(gpuComplaint({ ...h100, failure: null }, { driver: "595.1" }), undefined);
});
