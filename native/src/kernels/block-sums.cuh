// Sums over all threads of a block, the same bits in each of them, with one barrier.
#pragma once

namespace laclip {
namespace kernels {

// Numbers of shared memory that `block_sums` of `count` sums needs.
#define SUM_SPACE(count) (2 * 32 * (count))

// `turn` begins as 0 and says which half of `space` is used: while some threads still read the sums before these, others may already write
// the next ones.
template <int count>
DEVICE void block_sums(float (&values)[count], float* space, int& turn, int threads) {
  lane_sums(values, 32);
  const int warps = threads / 32;
  if (warps == 1) return;
  float* own = space + turn * 32 * count;
  turn ^= 1;
  if (thread() % 32 == 0) {
    UNROLL for (int i = 0; i < count; i++) own[thread() / 32 * count + i] = values[i];
  }
  barrier();
  UNROLL for (int i = 0; i < count; i++) values[i] = 0.0f;
  for (int warp = 0; warp < warps; warp++) {
    UNROLL for (int i = 0; i < count; i++) values[i] += own[warp * count + i];
  }
}

}  // namespace kernels
}  // namespace laclip
