// A tile of the result lies in registers while the sum runs.
#include "products.h"

#include <cstring>

#include "vectorised.h"

namespace laclip {

namespace {

using Lanes = float __attribute__((vector_size(product_lanes * sizeof(float))));

// The result and where it goes.
struct To {
  float* data;
  int64_t row;
  bool adds;
};

struct Right {
  const float* data;
  int64_t row;
};

template <int rows, int vectors>
inline __attribute__((always_inline)) void tile(Left left, Right right, To to, int64_t summed) {
  Lanes sums[rows][vectors] = {};
  for (int64_t s = 0; s < summed; s++) {
    Lanes factors[vectors];
    std::memcpy(factors, right.data + s * right.row, sizeof factors);
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < vectors; j++) sums[i][j] += left.data[i * left.row + s * left.column] * factors[j];
    }
  }
  for (int i = 0; i < rows; i++) {
    float* const there = to.data + i * to.row;
    if (to.adds) {
      Lanes before[vectors];
      std::memcpy(before, there, sizeof before);
      for (int j = 0; j < vectors; j++) sums[i][j] += before[j];
    }
    std::memcpy(there, sums[i], sizeof sums[i]);
  }
}

template <int vectors>
inline __attribute__((always_inline)) void strip(Left left, Right right, To to, int64_t rows, int64_t summed) {
  constexpr int together = 4;
  for (int64_t row = 0; row < rows;) {
    const Left here{left.data + row * left.row, left.row, left.column};
    const To there{to.data + row * to.row, to.row, to.adds};
    if (row + together <= rows) {
      tile<together, vectors>(here, right, there, summed);
      row += together;
    } else {
      tile<1, vectors>(here, right, there, summed);
      row += 1;
    }
  }
}

}  // namespace

LACLIP_VECTORISED void product(Left left, const float* right, int64_t right_row, float* to, int64_t to_row, int64_t rows, int64_t summed,
                               int64_t columns, bool adds) {
  int64_t column = 0;
  for (; column + 2 * product_lanes <= columns; column += 2 * product_lanes) {
    strip<2>(left, {right + column, right_row}, {to + column, to_row, adds}, rows, summed);
  }
  if (column < columns) strip<1>(left, {right + column, right_row}, {to + column, to_row, adds}, rows, summed);
}

}  // namespace laclip
