// What the operators of our own have in common on all devices, and those of the GPU.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <tuple>
#include <utility>

namespace laclip {

// c10::optional in older versions, std::optional in newer ones.
using OptionalTensor = decltype(std::declval<const c10::IValue&>().toOptional<at::Tensor>());

// What matrix products on a device work in now, in this thread. What stands in for a GPU goes by the GPU's autocast.
at::ScalarType product_dtype(c10::Device device);

std::tuple<at::Tensor, at::Tensor> add_norm_on_gpu(const at::Tensor& residual, const OptionalTensor& change, const at::Tensor& weight,
                                                   const at::Tensor& bias, double eps);
std::tuple<at::Tensor, at::Tensor, at::Tensor> split_heads_on_gpu(const at::Tensor& projected, int64_t heads,
                                                                  const OptionalTensor& query_weight, const OptionalTensor& query_bias,
                                                                  const OptionalTensor& key_weight, const OptionalTensor& key_bias,
                                                                  double eps, const OptionalTensor& bias);
at::Tensor activate_on_gpu(const at::Tensor& x, bool quick, const OptionalTensor& bias);

// Square images and patches, of so many pixels a side: `across` patches beside each other, `each` of every image wanted.
struct PatchSizes {
  int64_t images, side, patch_side, across, each;
  int64_t numbers() const { return 3 * patch_side * patch_side; }
};
// pixels uint8[images, side, side, 3], kept int64[images, each] or undefined, out [images, each, numbers]; all lie without gaps. On a GPU it is
// not checked that the places in `kept` exist, since that would have to wait for it.
void cut_patches_on_gpu(const PatchSizes& sizes, const at::Tensor& pixels, const float (&scale)[3], const float (&shift)[3],
                        const at::Tensor& kept, const at::Tensor& out);

}  // namespace laclip
