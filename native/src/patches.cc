// laclip::cut_patches: images as bytes -> the patches of normalised images, as the image tower's first product reads them, in one pass.
//
// By plain operators that is a cast to float32, two for the normalisation, a copy to planes, one to patches and a cast, each through memory
// and on four times the bytes. Pixels have no gradient, so there is no way back.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include "fused.h"

namespace laclip {

namespace {

constexpr int colours = 3;
constexpr int values = 256;

// A byte has 256 values: what becomes of each, of each colour, is worked out beforehand.
template <typename Number>
void cut(const PatchSizes& s, const uint8_t* pixels, const at::Tensor& becomes_CV, const int64_t* kept, Number* out) {
  const Number* const table = becomes_CV.data_ptr<Number>();
  at::parallel_for(0, s.images * s.each, 8, [&](int64_t begin, int64_t end) {
    for (int64_t patch = begin; patch < end; patch++) {
      const int64_t place = kept == nullptr ? patch % s.each : kept[patch];
      const int64_t top = place / s.across * s.patch_side, left = place % s.across * s.patch_side;
      const uint8_t* corner = pixels + ((patch / s.each * s.side + top) * s.side + left) * colours;
      Number* to = out + patch * s.numbers();
      for (int colour = 0; colour < colours; colour++) {
        const Number* becomes = table + colour * values;
        for (int64_t y = 0; y < s.patch_side; y++) {
          const uint8_t* from = corner + y * s.side * colours + colour;
          for (int64_t x = 0; x < s.patch_side; x++) *to++ = becomes[from[x * colours]];
        }
      }
    }
  });
}

void cut_on_cpu(const PatchSizes& s, const at::Tensor& pixels, const float (&scale)[3], const float (&shift)[3], const at::Tensor& kept,
                const at::Tensor& out) {
  const int64_t* const places = kept.defined() ? kept.data_ptr<int64_t>() : nullptr;
  for (int64_t i = 0; kept.defined() && i < kept.numel(); i++) {
    const int64_t all = s.across * s.across;
    TORCH_CHECK(places[i] >= 0 && places[i] < all, "kept has ", places[i], " where there are ", all, " patches");
  }
  // By the very operators that would else go over the images, so that not a bit differs.
  const auto of_colours = [](const float (&numbers)[3]) { return at::from_blob(const_cast<float*>(numbers), {colours, 1}, at::kFloat); };
  const at::Tensor becomes_CV = at::arange(values, at::kFloat).mul(of_colours(scale)).add(of_colours(shift)).to(out.scalar_type());
  if (out.scalar_type() == at::kFloat) cut(s, pixels.data_ptr<uint8_t>(), becomes_CV, places, out.data_ptr<float>());
  else cut(s, pixels.data_ptr<uint8_t>(), becomes_CV, places, out.data_ptr<at::BFloat16>());
}

void take_colours(at::ArrayRef<double> given, const char* name, float (&to)[3]) {
  TORCH_CHECK(given.size() == colours, name, " must have a number for each colour, got ", given.size());
  for (int i = 0; i < colours; i++) to[i] = static_cast<float>(given[i]);
}

at::Tensor cut_patches(const at::Tensor& given, at::ArrayRef<double> scales, at::ArrayRef<double> shifts, int64_t patch,
                       const OptionalTensor& wanted) {
  TORCH_CHECK(given.scalar_type() == at::kByte && given.dim() == 4 && given.size(1) == given.size(2) && given.size(3) == colours,
              "pixels must be uint8[images, side, side, 3], got ", given.scalar_type(), given.sizes());
  const int64_t side = given.size(1);
  TORCH_CHECK(patch > 0 && side > 0 && side % patch == 0, "patches of ", patch, " pixels don't fill a side of ", side);
  float scale[3], shift[3];
  take_colours(scales, "scale", scale);
  take_colours(shifts, "shift", shift);
  PatchSizes s{given.size(0), side, patch, side / patch, 0};
  s.each = s.across * s.across;
  at::Tensor kept;
  if (wanted.has_value()) {
    const bool fits = wanted->scalar_type() == at::kLong && wanted->dim() == 2 && wanted->size(0) == s.images;
    TORCH_CHECK(fits && wanted->device() == given.device(), "kept must be int64[", s.images, ", patches] on ", given.device(), ", got ",
                wanted->scalar_type(), wanted->sizes(), " on ", wanted->device());
    kept = wanted->contiguous();
    s.each = kept.size(1);
  }
  const at::Tensor pixels = given.contiguous();
  const at::ScalarType products = product_dtype(given.device());
  // In float16, which some processors multiply in, the product casts itself.
  const at::ScalarType dtype = products == at::kBFloat16 || (products == at::kHalf && !given.is_cpu()) ? products : at::kFloat;
  const at::Tensor out = at::empty({s.images, s.each, s.numbers()}, pixels.options().dtype(dtype));
  if (out.numel() == 0) return out;
  (given.is_cpu() ? cut_on_cpu : cut_patches_on_gpu)(s, pixels, scale, shift, kept, out);
  return out;
}

}  // namespace

}  // namespace laclip

TORCH_LIBRARY_FRAGMENT(laclip, library) {
  library.def("cut_patches(Tensor pixels, float[] scale, float[] shift, int patch, Tensor? kept=None) -> Tensor", laclip::cut_patches);
}
