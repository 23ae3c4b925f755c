// From a plan, as JavaScript writes it, and the bytes of an image to the pixels of its views.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "jpeg.h"
#include "view.h"

namespace laclip::images {

struct RenderPlan {
  enum Source { jpeg = 0, pixels = 1 };
  Source source;
  int width, height;
  double leastShrink;
  std::vector<ViewPlan> views;

  size_t bytes() const;
};

// Reads a plan of src/images/native.ts: source, width, height, leastShrink, number of views; then for each view its box (x, y, width,
// height), size, window (x, y, width, height), kernel, mirrored, verbatim, number of changes, and kind and amount of each.
// Nothing when a number is not what it may be, or lies outside of the image: all later code trusts a plan that was read.
std::optional<RenderPlan> readPlan(const double* numbers, size_t count);

// Makes all views, one after the other, into `target`, which has room for plan.bytes(). Pixels are `[height, width, 3]`.
Outcome render(const RenderPlan& plan, const uint8_t* source, size_t size, uint8_t* target) noexcept;

}  // namespace laclip::images
