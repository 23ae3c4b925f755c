// Matrix products so small that a library takes longer to get there than to compute them.
#pragma once

#include <cstdint>

namespace laclip {

// What `product` wants columns to be a multiple of.
constexpr int64_t product_lanes = 8;

// A float32 matrix somewhere in memory: `row` numbers from one row to the next, `column` from one column to the next.
struct Left {
  const float* data;
  int64_t row, column;
};

// to = left x right, or to += left x right if `adds`. Shapes: R rows, S summed over, C columns, a multiple of `product_lanes`.
// left [R, S], right [S, C] with `right_row` numbers from one row to the next, to [R, C] with `to_row`. Sums run over S from the first to the
// last, so nothing depends on the number of threads.
void product(Left left, const float* right, int64_t right_row, float* to, int64_t to_row, int64_t rows, int64_t summed, int64_t columns,
             bool adds = false);

}  // namespace laclip
