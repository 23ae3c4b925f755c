// laclip::cut_patches: images as bytes -> patches as the image tower's first product reads them, in one pass.
//
// By plain operators that is a cast to float32, two for the normalisation, a copy to planes, one to patches and a cast, each through memory
// and on four times the bytes. A byte has 256 values: what becomes of each is worked out beforehand, and looked up here. Pixels have no
// gradient, so there is no way back.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "fused.h"
#include "kernels.h"
#include "kernels/arguments.h"

namespace laclip {

namespace {

constexpr int colours = 3;
constexpr int values = 256;

struct Sizes {
  int64_t images, side, patch, columns, each;
  int64_t numbers() const { return colours * patch * patch; }
};

template <typename Number>
void cut(const Sizes& s, const uint8_t* pixels, const Number* table, const int64_t* kept, Number* out) {
  at::parallel_for(0, s.images * s.each, 8, [&](int64_t begin, int64_t end) {
    for (int64_t patch = begin; patch < end; patch++) {
      const int64_t place = kept == nullptr ? patch % s.each : kept[patch];
      const int64_t row = place / s.columns * s.patch, column = place % s.columns * s.patch;
      const uint8_t* corner = pixels + ((patch / s.each * s.side + row) * s.side + column) * colours;
      Number* to = out + patch * s.numbers();
      for (int colour = 0; colour < colours; colour++) {
        const Number* becomes = table + colour * values;
        for (int64_t y = 0; y < s.patch; y++) {
          const uint8_t* from = corner + y * s.side * colours + colour;
          for (int64_t x = 0; x < s.patch; x++) *to++ = becomes[from[x * colours]];
        }
      }
    }
  });
}

void cut_on_gpu(const Sizes& s, const at::Tensor& pixels, const at::Tensor& table, const at::Tensor& kept, const at::Tensor& out) {
  const int type = out.scalar_type() == at::kFloat ? kernels::kFloat32 : out.scalar_type() == at::kBFloat16 ? kernels::kBFloat16 : kernels::kFloat16;
  const int64_t most = 16 / static_cast<int64_t>(out.element_size()), together = s.numbers() % most == 0 ? most : 4;
  const bool whole = s.numbers() % together == 0 && reinterpret_cast<uintptr_t>(out.data_ptr()) % 16 == 0;
  const int64_t threads = std::min<int64_t>(256, ((s.numbers() + together - 1) / together + 31) / 32 * 32);
  const KernelCall call{"cut-patches",
                        "cut_patches",
                        {{"THREADS", static_cast<int>(threads)},
                         {"COLUMNS", static_cast<int>(together)},
                         {"TYPE", type},
                         {"PATCH", static_cast<int>(s.patch)},
                         {"WHOLE", whole ? 1 : 0}}};
  const int64_t patches = s.images * s.each;
  TORCH_CHECK(patches < (int64_t{1} << 31), "images must have less than 2^31 patches, got ", patches);
  const kernels::CutPatches arguments{pixels.data_ptr<uint8_t>(),
                                      table.data_ptr<float>(),
                                      kept.defined() ? reinterpret_cast<const long long*>(kept.data_ptr<int64_t>()) : nullptr,
                                      out.data_ptr(),
                                      patches,
                                      static_cast<int>(s.each),
                                      static_cast<int>(s.side),
                                      static_cast<int>(s.columns)};
  std::vector<at::Tensor> memory{pixels, table, out};
  if (kept.defined()) memory.push_back(kept);
  launch(pixels.device(), call, patches <= 4096 ? patches : (patches + 3) / 4, &arguments, memory);
}

at::Tensor cut_patches(const at::Tensor& given, const at::Tensor& table, int64_t patch, const OptionalTensor& wanted) {
  TORCH_CHECK(given.scalar_type() == at::kByte && given.dim() == 4 && given.size(1) == given.size(2) && given.size(3) == colours,
              "pixels must be uint8[images, side, side, 3], got ", given.scalar_type(), given.sizes());
  TORCH_CHECK(patch > 0 && given.size(1) % patch == 0 && given.size(1) > 0, "patches of ", patch, " pixels don't fill a side of ", given.size(1));
  TORCH_CHECK(table.scalar_type() == at::kFloat && table.sizes() == at::IntArrayRef({colours, values}) && table.device() == given.device(),
              "table must be float32[3, 256] on ", given.device(), ", got ", table.scalar_type(), table.sizes(), " on ", table.device());
  Sizes s{given.size(0), given.size(1), patch, given.size(1) / patch, 0};
  s.each = s.columns * s.columns;
  at::Tensor kept;
  if (wanted.has_value()) {
    TORCH_CHECK(wanted->scalar_type() == at::kLong && wanted->dim() == 2 && wanted->size(0) == s.images && wanted->device() == given.device(),
                "kept must be int64[", s.images, ", patches] on ", given.device(), ", got ", wanted->scalar_type(), wanted->sizes(), " on ",
                wanted->device());
    kept = wanted->contiguous();
    s.each = kept.size(1);
  }
  const at::Tensor pixels = given.contiguous(), becomes = table.contiguous();
  const at::ScalarType products = product_dtype(given.device());
  const bool on_cpu = given.is_cpu();
  // In float16, which some processors multiply in, the product casts itself.
  const at::ScalarType dtype = products == at::kBFloat16 || (products == at::kHalf && !on_cpu) ? products : at::kFloat;
  const at::Tensor out = at::empty({s.images, s.each, s.numbers()}, pixels.options().dtype(dtype));
  if (out.numel() == 0) return out;
  if (!on_cpu) {
    cut_on_gpu(s, pixels, becomes, kept, out);
    return out;
  }
  const int64_t* const places = kept.defined() ? kept.data_ptr<int64_t>() : nullptr;
  for (int64_t i = 0; kept.defined() && i < kept.numel(); i++) {
    TORCH_CHECK(places[i] >= 0 && places[i] < s.columns * s.columns, "kept has ", places[i], " where there are ", s.columns * s.columns, " patches");
  }
  const at::Tensor narrow = becomes.to(dtype);
  if (dtype == at::kFloat) cut(s, pixels.data_ptr<uint8_t>(), narrow.data_ptr<float>(), places, out.data_ptr<float>());
  else cut(s, pixels.data_ptr<uint8_t>(), narrow.data_ptr<at::BFloat16>(), places, out.data_ptr<at::BFloat16>());
  return out;
}

}  // namespace

}  // namespace laclip

TORCH_LIBRARY_FRAGMENT(laclip, library) {
  library.def("cut_patches(Tensor pixels, Tensor table, int patch, Tensor? kept=None) -> Tensor", laclip::cut_patches);
}
