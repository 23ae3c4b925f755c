/** Where the time of steps went, of events as a GPU and a processor give them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Profile, ProfileEvent } from "../torch/index.ts";
import { chromeTrace, profileTables, summarizeProfile } from "./profile-summary.ts";

const kernel = (name: string, start: number, duration: number, operator?: string, lane = 7): ProfileEvent => ({
  name,
  onDevice: true,
  lane,
  start,
  duration,
  ...(operator !== undefined && { operator }),
});
const operator = (name: string, start: number, duration: number, lane = 1): ProfileEvent => ({
  name,
  onDevice: false,
  lane,
  start,
  duration,
});

/** Kind of a single event. */
function kindOf(event: ProfileEvent): string {
  const beside = kernel("of a GPU that works", 0, 0);
  return summarizeProfile({ events: event.onDevice ? [event, beside] : [event], seconds: 1 }, 1, 0).longest[0]!.kind;
}

describe("a profile", () => {
  test("knows kernels by their names, and what is common to many by the operator", () => {
    const known: Record<string, [kernel: string, operator?: string][]> = {
      "matrix products": [
        ["nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT"],
        ["sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize64x64x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas"],
        ["void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x64_32x6_nn_align8>(Params)"],
        ["void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float> >", "aten::mm"],
      ],
      attention: [
        ["void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128, 128, 4> >(Flash_fwd_params)"],
        ["fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass::bfloat16_t>)"],
        ["cudnn_generated_fort_native_sdpa_sm90_knob_7_64x128x64_4x1x1_kernel0_0"],
      ],
      optimiser: [
        ["void at::native::(anonymous namespace)::multi_tensor_apply_kernel<FusedAdamMathFunctor<float, 4> >", "aten::_fused_adamw_"],
      ],
      "norms and heads": [["add_norm_backward"], ["split_heads_forward"], ["void at::native::layer_norm_grad_input_kernel<float>"]],
      activations: [
        ["activate_backward_with_bias"],
        ["void at::native::vectorized_elementwise_kernel<4, GeluCUDAKernelImpl>", "aten::gelu"],
      ],
      patches: [["cut_patches"]],
      "rows by number": [["void at::native::vectorized_gather_kernel<16, long>"], ["elementwise_kernel", "aten::embedding"]],
      "softmax and loss": [["softmax_warp_forward", "aten::_log_softmax"]],
      "copies and casts": [
        ["Memcpy HtoD (Pinned -> Device)"],
        ["void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda>", "aten::copy_"],
      ],
      reductions: [["void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float> >", "aten::sum"]],
      elementwise: [["void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float> >", "aten::add"]],
      "exchange between processes": [["ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"]],
      other: [["who_knows"]],
    };
    for (const [kind, names] of Object.entries(known)) {
      for (const [name, by] of names) assert.equal(kindOf(kernel(name, 0, 1, by)), kind, name);
    }
    assert.equal(kindOf(operator("torch::autograd::CppNode<laclip::(anonymous namespace)::SplitHeads>", 0, 1)), "norms and heads");
    for (const name of [
      "MmBackward0",
      "SumBackward0",
      "autograd::engine::evaluate_function: SumBackward0",
      "torch::autograd::AccumulateGrad",
    ]) {
      assert.equal(kindOf(operator(name, 0, 1)), "autograd itself", name);
    }
    assert.equal(kindOf(operator("aten::linalg_vector_norm", 0, 1)), "reductions");
    assert.equal(kindOf(operator("aten::normal_", 0, 1)), "random numbers");
    for (const name of ["aten::maximum", "aten::logical_and", "aten::eq"]) assert.equal(kindOf(operator(name, 0, 1)), "elementwise", name);
    for (const name of ["aten::expand", "aten::_unsafe_view", "aten::view_as"])
      assert.equal(kindOf(operator(name, 0, 1)), "views of tensors", name);
    assert.equal(kindOf(operator("aten::addmm", 0, 1)), "matrix products");
    assert.equal(kindOf(operator("aten::as_strided", 0, 1)), "views of tensors");
  });

  test("of a GPU counts what it does, and as nothing only what no stream fills", () => {
    // Two steps of 100 microseconds: 20 + 30 of products with 10 of a copy beside them and 10 after, and what the processor did.
    const events = [0, 100].flatMap((at) => [
      operator("aten::mm", at, 5),
      kernel("gemm", at + 10, 20, "aten::mm"),
      kernel("gemm", at + 40, 30, "aten::linear"),
      kernel("Memcpy HtoD (Pinned -> Device)", at + 60, 20, "aten::to", 9),
    ]);
    const summary = summarizeProfile({ events, seconds: 200e-6 }, 2, 20e-6);
    const rounded = (value: number): number => Math.round(value * 1e9) / 1e3;
    assert.equal(summary.of, "GPU");
    assert.deepEqual([summary.seconds, summary.busy, summary.waiting].map(rounded), [100, 60, 10]);
    assert.deepEqual(
      summary.kinds.map(({ name, seconds, calls }) => [name, rounded(seconds), calls]),
      [
        ["matrix products", 50, 2],
        ["copies and casts", 20, 1],
      ],
    );
    assert.deepEqual(summary.longest[0]!.operators, ["aten::mm", "aten::linear"]);
    const tables = profileTables(summary);
    assert.match(tables, /\| matrix products \| 0\.05 \| 50\.0 % \| 2 \|/);
    assert.match(tables, /\| \*\*nothing\*\* \| 0\.04 \| 40\.0 % \|/);
  });

  test("of a processor counts each operator without those inside of it", () => {
    const events = [
      operator("aten::linear", 0, 50),
      operator("aten::t", 0, 5),
      operator("aten::addmm", 5, 40),
      operator("aten::copy_", 10, 10),
      operator("aten::sum", 60, 10),
      // Of another thread, at the same time.
      operator("aten::sum", 20, 30, 2),
    ];
    const summary = summarizeProfile({ events, seconds: 100e-6 }, 1, 0);
    const found = Object.fromEntries(summary.kinds.map(({ name, seconds }) => [name, Math.round(seconds * 1e6)]));
    assert.deepEqual(found, { reductions: 40, "matrix products": 35, "copies and casts": 10, "views of tensors": 5 });
    assert.equal(Math.round(summary.busy * 1e6), 60);
    assert.match(profileTables(summary), /outside of operators\*\* \| 0\.04 \| 40\.0 %/);
  });

  test("is a trace that viewers read, with the longest events where there are very many", () => {
    type Trace = { traceEvents: { ph: string; name: string; pid: number; tid: number; ts: number; dur: number; args?: object }[] };
    const traceOf = (profile: Profile): Trace["traceEvents"] =>
      (JSON.parse(chromeTrace(profile)) as Trace).traceEvents.filter(({ ph }) => ph === "X");
    const [one] = traceOf({ events: [kernel('a "quoted" kernel', 3, 4, "aten::mm")], seconds: 1 });
    assert.deepEqual(one, {
      ph: "X",
      name: 'a "quoted" kernel',
      cat: "matrix products",
      pid: 1,
      tid: 7,
      ts: 3,
      dur: 4,
      args: { operator: "aten::mm" },
    });
    const many = Array.from({ length: 200_010 }, (_, i) => operator("aten::add", i, i < 10 ? 0 : 1));
    const shown = traceOf({ events: many, seconds: 1 });
    assert.equal(shown.length, 200_000);
    assert.ok(shown.every(({ dur }) => dur === 1));
  });

  test("of copies alone is one of the processor", () => {
    const events = [operator("aten::copy_", 0, 5), kernel("Memcpy HtoD (Pinned -> Device)", 10, 20, "aten::copy_")];
    const { of, busy } = summarizeProfile({ events, seconds: 1 }, 1, 0);
    assert.deepEqual([of, Math.round(busy * 1e6)], ["processor", 5]);
  });

  test("tells kernels of one pattern apart", () => {
    const pattern = (body: string): string =>
      `void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<at::native::BinaryFunctor<float, float, float, at::native::binary_internal::${body}<float> > >`;
    const events = ["MulFunctor", "DivFunctor"].map((body, i) => kernel(pattern(body), i, 1));
    const tables = profileTables(summarizeProfile({ events, seconds: 1 }, 1, 0));
    for (const body of ["MulFunctor", "DivFunctor"]) assert.ok(tables.includes(body), tables);
  });

  test("keeps a kernel's long name out of the way, and the table whole", () => {
    const events = [kernel(`void kernel<${"x|".repeat(200)}>`, 0, 1)];
    const line = profileTables(summarizeProfile({ events, seconds: 1 }, 1, 0))
      .split("\n")
      .find((one) => one.includes("kernel<"))!;
    assert.equal(line.split("|").length, 7);
    assert.ok(line.length < 200);
  });
});
