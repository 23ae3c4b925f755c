// The operators of fused.cc on a GPU, by the kernels of kernels/: memory is asked for, addresses are looked at, gradients are recorded.
//
// A GPU's time outside of matrix products goes by the bytes that are moved. So what is cheap to compute is not kept for the way back (the
// moments of query and key, what lies inside an activation), and what attention can read where it lies is not copied (the value, and
// without norms query and key).
//
// Where an operator takes the bias of the linear layer before it, that bias is already in its input. It is there for its gradient, the sum over
// the rows of the input's gradient, which costs nothing here and a pass over memory in the layer itself.
#include "fused.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/version.h>

#include <algorithm>
#include <vector>

#include "kernels.h"
#include "kernels/arguments.h"

namespace laclip {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// A block's threads have 8 columns each.
constexpr int64_t most_width = 8 * 1024;
// 32 threads, of 8 columns.
constexpr int64_t most_depth = 8 * 32;

kernels::Type type_of(at::ScalarType dtype) {
  return dtype == at::kFloat ? kernels::kFloat32 : dtype == at::kBFloat16 ? kernels::kBFloat16 : kernels::kFloat16;
}

bool known(at::ScalarType dtype) { return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf; }

int whole_warps(int64_t threads) { return static_cast<int>((threads + 31) / 32 * 32); }

// Whether all of them begin where 16 bytes can be read at once. What is not there counts as if it did.
bool even(std::initializer_list<at::Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) {
    return !tensor.defined() || reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 16 == 0;
  });
}

void* data(const at::Tensor& tensor) { return tensor.defined() ? tensor.data_ptr() : nullptr; }
float* floats(const at::Tensor& tensor) { return tensor.defined() ? tensor.data_ptr<float>() : nullptr; }

std::vector<at::Tensor> present(std::initializer_list<at::Tensor> tensors) {
  std::vector<at::Tensor> found;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined()) found.push_back(tensor);
  }
  return found;
}

at::Tensor dense(const at::Tensor& tensor) { return tensor.defined() ? tensor.contiguous() : tensor; }

void check_vector(const at::Tensor& vector, const char* name, int64_t width, c10::Device device) {
  TORCH_CHECK(vector.device() == device && vector.scalar_type() == at::kFloat && vector.sizes() == at::IntArrayRef({width}), name,
              " must be float32[", width, "] on ", device, ", got ", vector.scalar_type(), vector.sizes(), " on ", vector.device());
}

void check_dtype(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(known(tensor.scalar_type()), name, " must be float32, bfloat16 or float16, got ", tensor.scalar_type());
}

// Blocks for so many rows where a block may take several: enough of them to even out the end, few enough to begin seldom.
int64_t blocks_for(int64_t rows, int64_t each) { return rows <= 4096 ? rows : (rows + each - 1) / each; }

class AddNorm : public torch::autograd::Function<AddNorm> {
 public:
  static variable_list forward(AutogradContext* context, const Variable& residual, const OptionalTensor& change, const Variable& weight,
                               const Variable& bias, double eps) {
    const at::Tensor x = residual.contiguous();
    const int64_t width = x.size(-1), rows = x.numel() / width;
    const bool adds = change.has_value();
    const at::Tensor delta = adds ? change->contiguous() : at::Tensor();
    const at::Tensor sum = adds ? at::empty(x.sizes(), x.options()) : x;
    const at::ScalarType products = product_dtype(x.device());
    const at::Tensor normed = at::empty(x.sizes(), x.options().dtype(known(products) ? products : at::kFloat));
    const at::Tensor moments_R2 = at::empty({rows, 2}, x.options());
    const int change_type = adds ? type_of(delta.scalar_type()) : kernels::kAbsent;
    const KernelCall call = described("add_norm_forward", width, change_type, normed.scalar_type(), true,
                                      even({x, delta, weight, bias, sum, normed}));
    const kernels::AddNormForward arguments{floats(x),   data(delta),        floats(weight), floats(bias), floats(sum), data(normed),
                                            floats(moments_R2), rows, static_cast<int>(width), static_cast<float>(eps)};
    launch(x.device(), call, blocks_for(rows, 4), &arguments, present({x, delta, weight, bias, sum, normed, moments_R2}));
    context->set_materialize_grads(false);
    context->save_for_backward({sum, moments_R2, weight});
    context->saved_data["change"] = adds ? static_cast<int64_t>(change->scalar_type()) : static_cast<int64_t>(-1);
    // Without a change the sum is the residual itself; its gradient comes through here all the same, to be added in the same pass.
    return {adds ? sum : residual.view_as(residual), normed};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &sum = saved[0], &moments_R2 = saved[1], &weight = saved[2];
    const int64_t change = context->saved_data["change"].toInt();
    const auto change_dtype = static_cast<at::ScalarType>(change);
    const int64_t width = sum.size(-1), rows = sum.numel() / width;
    const at::Tensor through = dense(gradients[0]);
    if (!gradients[1].defined()) {
      const at::Tensor to_change = change < 0 || !through.defined() ? at::Tensor() : through.to(change_dtype);
      return {through, to_change, at::Tensor(), at::Tensor(), at::Tensor()};
    }
    const at::Tensor of_normed = gradients[1].contiguous();
    const at::Tensor dx = at::empty(sum.sizes(), sum.options());
    const bool casts = change >= 0 && change_dtype != at::kFloat;
    const at::Tensor ddelta = casts ? at::empty(sum.sizes(), sum.options().dtype(change_dtype)) : at::Tensor();
    const KernelCall call = described("add_norm_backward", width, casts ? type_of(change_dtype) : kernels::kAbsent,
                                      of_normed.scalar_type(), through.defined(), even({through, of_normed, sum, weight, dx, ddelta}));
    const int64_t blocks = std::min(rows, resident_blocks(sum.device(), call));
    const at::Tensor partial_K2W = at::empty({blocks, 2, width}, sum.options());
    const kernels::AddNormBackward arguments{floats(through), data(of_normed), floats(sum),         floats(moments_R2), floats(weight),
                                             floats(dx),      data(ddelta),    floats(partial_K2W), rows,               static_cast<int>(width)};
    launch(sum.device(), call, blocks, &arguments, present({through, of_normed, sum, moments_R2, weight, dx, ddelta, partial_K2W}));
    const at::Tensor weights_2W = partial_K2W.sum(0);
    return {dx, change < 0 ? at::Tensor() : casts ? ddelta : dx, weights_2W[0], weights_2W[1], at::Tensor()};
  }

 private:
  static KernelCall described(const char* name, int64_t width, int change, at::ScalarType out, bool through, bool evenly) {
    return {"add-norm",
            name,
            {{"THREADS", whole_warps((width + 7) / 8)},
             {"CHANGE", change},
             {"OUT", type_of(out)},
             {"THROUGH", through ? 1 : 0},
             {"WHOLE", evenly && width % 4 == 0 ? 1 : 0}}};
  }
};

class SplitHeads : public torch::autograd::Function<SplitHeads> {
 public:
  static variable_list forward(AutogradContext* context, const Variable& projected, int64_t heads, const OptionalTensor& query_weight,
                               const OptionalTensor& query_bias, const OptionalTensor& key_weight, const OptionalTensor& key_bias,
                               double eps, const OptionalTensor& bias) {
    const at::Tensor x = projected.contiguous();
    const int64_t batch = x.size(0), tokens = x.size(1), depth = x.size(2) / 3 / heads;
    context->set_materialize_grads(false);
    context->saved_data["heads"] = heads;
    context->saved_data["eps"] = eps;
    context->saved_data["biased"] = bias.has_value();
    context->saved_data["shape"] = x.sizes().vec();
    // What lies in the memory of others is for autograd a result like any other.
    const at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor parts_3BHND = x.view({batch, tokens, 3, heads, depth}).permute({2, 0, 3, 1, 4});
    if (!query_weight.has_value()) return {parts_3BHND.select(0, 0), parts_3BHND.select(0, 1), parts_3BHND.select(0, 2)};
    const at::Tensor normed_BN2HD = at::empty({batch, tokens, 2, heads, depth}, x.options());
    const KernelCall call = described("split_heads_forward", x.scalar_type(), 2 * heads, depth, true, bias.has_value(),
                                      even({x, *query_weight, *query_bias, *key_weight, *key_bias, normed_BN2HD}));
    const kernels::SplitHeadsForward arguments{data(x),
                                               {floats(*query_weight), floats(*key_weight)},
                                               {floats(*query_bias), floats(*key_bias)},
                                               data(normed_BN2HD),
                                               batch * tokens,
                                               static_cast<int>(heads),
                                               static_cast<int>(depth),
                                               static_cast<float>(eps)};
    launch(x.device(), call, blocks_for(batch * tokens, 8), &arguments,
           present({x, *query_weight, *query_bias, *key_weight, *key_bias, normed_BN2HD}));
    context->save_for_backward({x, *query_weight, *key_weight});
    const at::Tensor normed_2BHND = normed_BN2HD.permute({2, 0, 3, 1, 4});
    return {normed_2BHND.select(0, 0), normed_2BHND.select(0, 1), parts_3BHND.select(0, 2)};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto shape = context->saved_data["shape"].toIntVector();
    const int64_t heads = context->saved_data["heads"].toInt();
    const variable_list saved = context->get_saved_variables();
    const bool norms = !saved.empty(), biased = context->saved_data["biased"].toBool();
    const int64_t rows = shape[0] * shape[1], depth = shape[2] / 3 / heads;
    at::Tensor of_part[3];
    at::TensorOptions options;
    kernels::SplitHeadsBackward arguments{};
    for (int part = 0; part < 3; part++) {
      const at::Tensor& given = gradients[part];
      if (!given.defined()) continue;
      of_part[part] = given.stride(3) == 1 || depth == 1 ? given : given.contiguous();
      options = given.options();
      arguments.of_part[part] = data(of_part[part]);
      for (int i = 0; i < 3; i++) arguments.strides[part][i] = of_part[part].stride(i);
    }
    const at::Tensor x = norms ? saved[0] : at::Tensor(), query_weight = norms ? saved[1] : x, key_weight = norms ? saved[2] : x;
    const at::Tensor dx = at::empty(shape, options);
    const int64_t each = columns_of(dx.scalar_type(), depth);
    bool evenly = even({of_part[0], of_part[1], of_part[2], x, query_weight, key_weight, dx});
    for (const auto& strides : arguments.strides) {
      for (const long long stride : strides) evenly = evenly && stride % each == 0;
    }
    const KernelCall call = described("split_heads_backward", dx.scalar_type(), 3 * heads, depth, norms, biased, evenly);
    const int64_t blocks = std::min(rows, norms || biased ? resident_blocks(dx.device(), call) : blocks_for(rows, 8));
    const at::Tensor of_bias_K3W = biased ? at::empty({blocks, shape[2]}, options.dtype(at::kFloat)) : at::Tensor();
    const at::Tensor partial_K2H2D =
        norms ? at::empty({blocks, 2, heads, 2, depth}, options.dtype(at::kFloat)) : at::Tensor();
    arguments.projected = data(x);
    arguments.weights[0] = floats(query_weight), arguments.weights[1] = floats(key_weight);
    arguments.of_projected = data(dx);
    arguments.partial = floats(partial_K2H2D), arguments.of_bias = floats(of_bias_K3W);
    arguments.rows = rows;
    arguments.tokens = static_cast<int>(shape[1]), arguments.heads = static_cast<int>(heads), arguments.depth = static_cast<int>(depth);
    arguments.eps = static_cast<float>(context->saved_data["eps"].toDouble());
    launch(dx.device(), call, blocks, &arguments,
           present({of_part[0], of_part[1], of_part[2], x, query_weight, key_weight, dx, partial_K2H2D, of_bias_K3W}));
    const at::Tensor of_bias = biased ? of_bias_K3W.sum(0) : at::Tensor();
    if (!norms) return {dx, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), of_bias};
    const at::Tensor weights_22D = partial_K2H2D.sum(at::IntArrayRef({0, 2}));
    return {dx, at::Tensor(), weights_22D[0][0], weights_22D[0][1], weights_22D[1][0], weights_22D[1][1], at::Tensor(), of_bias};
  }

 private:
  // Numbers that a thread has of a vector: 16 bytes, unless the vector is so long that these would not do.
  static int64_t columns_of(at::ScalarType dtype, int64_t depth) { return dtype == at::kFloat && depth <= 4 * 32 ? 4 : 8; }

  static KernelCall described(const char* name, at::ScalarType dtype, int64_t vectors, int64_t depth, bool norms, bool biased,
                              bool evenly) {
    const int64_t columns = columns_of(dtype, depth);
    int lanes = 1;
    while (lanes * columns < depth) lanes *= 2;
    return {"split-heads",
            name,
            // More threads leave a multiprocessor too few registers for a second block.
            {{"THREADS", std::min(whole_warps(vectors * lanes), 288)},
             {"LANES", lanes},
             {"COLUMNS", static_cast<int>(columns)},
             {"TYPE", type_of(dtype)},
             {"WHOLE", evenly && depth % columns == 0 ? 1 : 0},
             {"NORMS", norms ? 1 : 0},
             {"BIAS", biased ? 1 : 0}}};
  }
};

class Activation : public torch::autograd::Function<Activation> {
 public:
  static Variable forward(AutogradContext* context, const Variable& given, bool quick, const OptionalTensor& bias) {
    const at::Tensor x = given.contiguous();
    const at::Tensor y = at::empty(x.sizes(), x.options());
    const kernels::Activate arguments{data(x), data(y), x.numel()};
    const KernelCall call = described("activate_forward", x, quick, even({x, y}) && x.numel() % columns_of(x) == 0);
    launch(x.device(), call, blocks_of(x), &arguments, present({x, y}));
    context->save_for_backward({x});
    context->saved_data["quick"] = quick;
    context->saved_data["biased"] = bias.has_value();
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor of_y = gradients[0].contiguous();
    const at::Tensor of_x = at::empty(x.sizes(), x.options());
    const bool quick = context->saved_data["quick"].toBool(), evenly = even({x, of_y, of_x});
    if (context->saved_data["biased"].toBool()) return {of_x, at::Tensor(), with_bias(x, of_y, of_x, quick, evenly)};
    const kernels::ActivateBackward arguments{data(x), data(of_y), data(of_x), x.numel()};
    const KernelCall call = described("activate_backward", x, quick, evenly && x.numel() % columns_of(x) == 0);
    launch(x.device(), call, blocks_of(x), &arguments, present({x, of_y, of_x}));
    return {of_x, at::Tensor(), at::Tensor()};
  }

 private:
  static constexpr int threads = 128;

  // Fills `of_x`; returns the sum over its rows.
  static at::Tensor with_bias(const at::Tensor& x, const at::Tensor& of_y, const at::Tensor& of_x, bool quick, bool evenly) {
    const int64_t width = x.size(-1), rows = x.numel() / width, each = threads * columns_of(x);
    const KernelCall call = described("activate_backward_with_bias", x, quick, evenly && width % columns_of(x) == 0);
    const int64_t tiles = (width + each - 1) / each;
    const int64_t slabs = std::min(rows, std::max<int64_t>(1, resident_blocks(x.device(), call) / tiles));
    const at::Tensor partial_KW = at::empty({slabs, width}, x.options().dtype(at::kFloat));
    const kernels::ActivateBackwardWithBias arguments{
        data(x), data(of_y), data(of_x), floats(partial_KW), rows, static_cast<int>(width), static_cast<int>(tiles)};
    launch(x.device(), call, tiles * slabs, &arguments, present({x, of_y, of_x, partial_KW}));
    return partial_KW.sum(0);
  }

  static int64_t columns_of(const at::Tensor& x) { return 16 / static_cast<int64_t>(x.element_size()); }
  static int64_t blocks_of(const at::Tensor& x) {
    const int64_t each = 2 * threads * columns_of(x);
    return (x.numel() + each - 1) / each;
  }

  static KernelCall described(const char* name, const at::Tensor& x, bool quick, bool whole) {
    return {"activation",
            name,
            {{"THREADS", threads},
             {"COLUMNS", static_cast<int>(columns_of(x))},
             {"TYPE", type_of(x.scalar_type())},
             {"QUICK", quick ? 1 : 0},
             {"WHOLE", whole ? 1 : 0}}};
  }
};

}  // namespace

at::ScalarType product_dtype(c10::Device device) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  const at::DeviceType kind = device.is_cpu() ? at::kCPU : at::kCUDA;
  return at::autocast::is_autocast_enabled(kind) ? at::autocast::get_autocast_dtype(kind) : at::kFloat;
#else
  if (!device.is_cpu()) return at::autocast::is_enabled() ? at::autocast::get_autocast_gpu_dtype() : at::kFloat;
  return at::autocast::is_cpu_enabled() ? at::autocast::get_autocast_cpu_dtype() : at::kFloat;
#endif
}

std::tuple<at::Tensor, at::Tensor> add_norm_on_gpu(const at::Tensor& residual, const OptionalTensor& change, const at::Tensor& weight,
                                                   const at::Tensor& bias, double eps) {
  TORCH_CHECK(residual.scalar_type() == at::kFloat, "residual must be float32, got ", residual.scalar_type());
  TORCH_CHECK(residual.dim() > 0 && residual.size(-1) > 0 && residual.size(-1) <= most_width, "residual must have rows of 1 to ", most_width,
              " numbers, got shape ", residual.sizes());
  if (change.has_value()) {
    check_dtype(*change, "change");
    TORCH_CHECK(change->sizes() == residual.sizes() && change->device() == residual.device(), "change must have the shape of residual, ",
                residual.sizes(), " on ", residual.device(), ", got ", change->sizes(), " on ", change->device());
  }
  check_vector(weight, "weight", residual.size(-1), residual.device());
  check_vector(bias, "bias", residual.size(-1), residual.device());
  const variable_list results = AddNorm::apply(residual, change, weight.contiguous(), bias.contiguous(), eps);
  return {results[0], results[1]};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> split_heads_on_gpu(const at::Tensor& projected, int64_t heads,
                                                                  const OptionalTensor& query_weight, const OptionalTensor& query_bias,
                                                                  const OptionalTensor& key_weight, const OptionalTensor& key_bias,
                                                                  double eps, const OptionalTensor& bias) {
  check_dtype(projected, "projected");
  TORCH_CHECK(projected.dim() == 3 && heads > 0 && projected.size(2) > 0 && projected.size(2) % (3 * heads) == 0,
              "projected must be [batch, tokens, 3 x heads x depth] with ", heads, " heads, got ", projected.sizes());
  TORCH_CHECK(projected.size(0) * projected.size(1) < (int64_t{1} << 31), "projected must have less than 2^31 rows, got ", projected.sizes());
  const int64_t depth = projected.size(2) / 3 / heads;
  TORCH_CHECK(depth <= most_depth, "a head must be at most ", most_depth, " wide, got ", depth);
  const OptionalTensor* const given[4] = {&query_weight, &query_bias, &key_weight, &key_bias};
  const char* const names[4] = {"query_weight", "query_bias", "key_weight", "key_bias"};
  OptionalTensor vectors[4];
  for (int i = 0; i < 4; i++) {
    TORCH_CHECK(given[i]->has_value() == query_weight.has_value(), "the norms of query and key need all of weight and bias, or none");
    if (!given[i]->has_value()) continue;
    check_vector(**given[i], names[i], depth, projected.device());
    vectors[i] = (*given[i])->contiguous();
  }
  if (bias.has_value()) check_vector(*bias, "bias", projected.size(2), projected.device());
  const variable_list parts = SplitHeads::apply(projected, heads, vectors[0], vectors[1], vectors[2], vectors[3], eps, bias);
  return {parts[0], parts[1], parts[2]};
}

at::Tensor activate_on_gpu(const at::Tensor& x, bool quick, const OptionalTensor& bias) {
  check_dtype(x, "x");
  if (bias.has_value()) {
    TORCH_CHECK(x.dim() > 0 && x.size(-1) > 0, "x must have rows, got shape ", x.sizes());
    check_vector(*bias, "bias", x.size(-1), x.device());
  }
  return Activation::apply(x, quick, bias);
}

void cut_patches_on_gpu(const PatchSizes& s, const at::Tensor& pixels, const float (&scale)[3], const float (&shift)[3],
                        const at::Tensor& kept, const at::Tensor& out) {
  const int64_t patches = s.images * s.each;
  TORCH_CHECK(patches < (int64_t{1} << 31), "images must have less than 2^31 patches, got ", patches);
  // 16 bytes, or 4 numbers where a patch has no multiple of that.
  const int64_t most = 16 / static_cast<int64_t>(out.element_size()), columns = s.numbers() % most == 0 ? most : 4;
  const KernelCall call{"cut-patches",
                        "cut_patches",
                        {{"THREADS", std::min(whole_warps((s.numbers() + columns - 1) / columns), 256)},
                         {"COLUMNS", static_cast<int>(columns)},
                         {"TYPE", type_of(out.scalar_type())},
                         {"PATCH", static_cast<int>(s.patch_side)},
                         {"WHOLE", even({out}) && s.numbers() % columns == 0 ? 1 : 0}}};
  const kernels::CutPatches arguments{pixels.data_ptr<uint8_t>(),
                                      kept.defined() ? reinterpret_cast<const long long*>(kept.data_ptr<int64_t>()) : nullptr,
                                      data(out),
                                      patches,
                                      static_cast<int>(s.each),
                                      static_cast<int>(s.side),
                                      static_cast<int>(s.across),
                                      {scale[0], scale[1], scale[2]},
                                      {shift[0], shift[1], shift[2]}};
  launch(pixels.device(), call, blocks_for(patches, 4), &arguments, present({pixels, kept, out}));
}

}  // namespace laclip
