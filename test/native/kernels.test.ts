/**
 * CUDA's compiler takes the kernels' sources, for each generation of GPUs and in all their forms. It needs no GPU, but NVIDIA's libnvrtc:
 * beside a CUDA libtorch, in a toolkit, or where LACLIP_NVRTC says. Whether the kernels are right is for test/gpu/kernels.test.ts.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildRecord, native, torchInfo } from "../../src/torch/index.ts";

/** A libnvrtc of this machine, or undefined. */
function findCompiler(): string | undefined {
  const named = process.env["LACLIP_NVRTC"];
  if (named !== undefined) return named;
  const beside = join(dirname(buildRecord().libtorch.path), "nvidia");
  const folders = [join(beside, "cu13/lib"), join(beside, "cuda_nvrtc/lib"), "/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu"];
  return folders
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .find((path) => /libnvrtc\.so\.\d+$/.test(path));
}

const compiler = findCompiler();
const skip = compiler === undefined ? { skip: "there is no libnvrtc here (LACLIP_NVRTC names one)" } : {};

/** Every set of constants that the addon asks for, but for sizes. Dtypes: 0 float32, 1 bfloat16, 2 float16, 3 none. */
const forms: Record<string, Record<string, readonly number[]>> = {
  "add-norm": { THREADS: [96], CHANGE: [0, 1, 2, 3], OUT: [0, 1, 2], THROUGH: [1], WHOLE: [1] },
  "split-heads": { THREADS: [192], LANES: [8], COLUMNS: [8], TYPE: [1, 2], WHOLE: [1], NORMS: [0, 1], BIAS: [0, 1] },
  activation: { THREADS: [128], COLUMNS: [8], TYPE: [1, 2], QUICK: [0, 1], WHOLE: [0, 1] },
  "cut-patches": { THREADS: [96], COLUMNS: [8], TYPE: [1, 2], PATCH: [16], WHOLE: [1] },
};
/** Odd widths, and float32, of which a thread has half as many columns, unless a head is very wide. */
const more: typeof forms = {
  "add-norm": { THREADS: [32], CHANGE: [1, 3], OUT: [1], THROUGH: [0], WHOLE: [0] },
  "split-heads": { THREADS: [64], LANES: [16], COLUMNS: [4, 8], TYPE: [0], WHOLE: [0, 1], NORMS: [1], BIAS: [1] },
  activation: { THREADS: [128], COLUMNS: [4], TYPE: [0], QUICK: [0, 1], WHOLE: [1] },
  "cut-patches": { THREADS: [160, 256], COLUMNS: [4], TYPE: [0, 1], PATCH: [7, 14, 32], WHOLE: [0, 1] },
};

/** All choices of one value for each name. */
function choices(names: Record<string, readonly number[]>): Record<string, number>[] {
  let all: Record<string, number>[] = [{}];
  for (const [name, values] of Object.entries(names)) all = all.flatMap((chosen) => values.map((value) => ({ ...chosen, [name]: value })));
  return all;
}

/** @param folder where code is kept; "" for nowhere */
function compile(architecture: string, file: string, constants: Record<string, number>, folder = ""): Buffer {
  return Buffer.from(native().compileKernels(compiler!, architecture, file, Object.keys(constants), Object.values(constants), folder));
}

describe("CUDA's compiler", () => {
  for (const architecture of ["sm_80", "sm_90", "sm_100"]) {
    test(`makes code for ${architecture} of all kernels`, skip, () => {
      for (const file of Object.keys(forms)) {
        for (const constants of [choices(forms[file]!), choices(more[file]!)].flatMap((all) =>
          // Each form for the GPUs that most people train on; for the others the first and the last.
          architecture === "sm_90" ? all : [all[0], all.at(-1)].filter((one) => one !== undefined),
        )) {
          const code = compile(architecture, file, constants);
          assert.equal(code.toString("latin1", 1, 4), "ELF", `${file} ${JSON.stringify(constants)}`);
        }
      }
    });
  }

  test("makes what a driver can compile further for a later GPU", skip, () => {
    const code = compile("compute_80", "activation", choices(forms["activation"]!)[0]!).toString("latin1");
    assert.match(code, /\.visible \.entry activate_backward/);
  });

  test("stores many bytes at once wherever a thread has them", skip, () => {
    // By how many bytes: of four numbers in 16 bits, 8; else 16.
    const wide = (constants: Record<string, number>): RegExp =>
      constants["COLUMNS"] === 4 && constants["TYPE"] !== 0 ? /st\.global\S*\.v2\.[bu]32/ : /st\.global\S*\.v4\.[bfu]32/;
    for (const architecture of ["compute_80", "compute_90"]) {
      for (const file of Object.keys(forms)) {
        for (const constants of [...choices(forms[file]!), ...choices(more[file]!)].filter(({ WHOLE }) => WHOLE === 1)) {
          assert.match(compile(architecture, file, constants).toString("latin1"), wide(constants), `${file} ${JSON.stringify(constants)}`);
        }
      }
    }
  });

  test("is quoted with file and line where it finds a mistake", skip, () => {
    assert.throws(() => compile("sm_90", "add-norm", { THREADS: 96, CHANGE: 1, OUT: 1 }), /add-norm\.cu\(\d+\): error: .*WHOLE/);
    assert.throws(() => compile("sm_1", "add-norm", choices(forms["add-norm"]!)[0]!), /for sm_1: .*invalid value for --gpu-architecture/);
  });
});

describe("compiled kernels on disk", () => {
  const root = mkdtempSync(join(tmpdir(), "laclip-kernels-"));
  after(() => rmSync(root, { recursive: true, force: true }));
  const constants = choices(forms["activation"]!)[0]!;

  /** How often the compiler works in `body`. */
  function compilations(body: () => unknown): number {
    const before = native().kernelCompilations();
    body();
    return native().kernelCompilations() - before;
  }

  test("are compiled by the first process alone", skip, () => {
    const folder = join(root, "processes");
    const program = fileURLToPath(new URL("programs/compile-kernels.js", import.meta.url));
    const [first, second] = [1, 2].map(
      () => JSON.parse(execFileSync(process.execPath, [program, compiler!, folder], { encoding: "utf8" })) as Record<string, number>,
    );
    assert.equal(first!["compilations"], 1);
    assert.deepEqual(second, { ...first, compilations: 0 });
  });

  test("are compiled again for other constants, another architecture, another kernel", skip, () => {
    const folder = join(root, "others");
    const others: [string, string, Record<string, number>][] = [
      ["sm_90", "activation", constants],
      ["sm_80", "activation", constants],
      ["compute_80", "activation", constants],
      ["sm_90", "activation", { ...constants, QUICK: 1 - constants["QUICK"]! }],
      ["sm_90", "cut-patches", choices(forms["cut-patches"]!)[0]!],
    ];
    const codes = others.map((other) => compile(...other, folder).toString("latin1"));
    assert.equal(new Set(codes).size, others.length);
    assert.equal(readdirSync(folder).length, others.length);
    const again = (): string[] => others.map((other) => compile(...other, folder).toString("latin1"));
    assert.equal(
      compilations(() => assert.deepEqual(again(), codes)),
      0,
    );
  });

  test("are compiled again where the file is damaged, and where nothing can be kept", skip, () => {
    const folder = join(root, "damaged");
    const code = compile("sm_90", "activation", constants, folder);
    const path = join(folder, readdirSync(folder)[0]!);
    const bytes = readFileSync(path);
    truncateSync(path, bytes.length - 1);
    assert.equal(
      compilations(() => assert.deepEqual(compile("sm_90", "activation", constants, folder), code)),
      1,
    );
    assert.deepEqual(readFileSync(path), bytes);
    writeFileSync(join(root, "file"), "");
    for (const none of ["", join(root, "file"), "/proc/laclip"]) {
      const twice = (): void => [1, 2].forEach(() => assert.deepEqual(compile("sm_90", "activation", constants, none), code));
      assert.equal(compilations(twice), 2);
    }
  });

  test("are not kept where there is a mistake", skip, () => {
    const folder = join(root, "mistake");
    for (let time = 0; time < 2; time++) {
      assert.throws(() => compile("sm_90", "add-norm", { THREADS: 96, CHANGE: 1, OUT: 1 }, folder), /add-norm\.cu\(\d+\): error: .*WHOLE/);
    }
    assert.equal(existsSync(folder), false);
  });
});

test("what is no compiler, or no kernel, is said", () => {
  assert.throws(() => native().compileKernels("/no/such/library.so", "sm_90", "add-norm", [], [], ""), /library\.so/);
  assert.throws(() => native().compileKernels("libc.so.6", "sm_90", "add-norm", [], [], ""), /no nvrtcCreateProgram/);
});

test("a device without the kernels has a reason", () => {
  assert.match(native().kernelProblem("cpu")!, /there are none for cpu/);
  if (torchInfo().cudaDevices === 0) assert.match(native().kernelProblem("cuda:0")!, /\w/);
  else assert.equal(native().kernelProblem("cuda:0"), undefined);
});
