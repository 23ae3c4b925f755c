// A residual sum and its LayerNorm, forward and backward: each row is read once, held in registers, and written once.
//
// A block takes a row at a time. A thread has two runs of 4 neighbouring columns, half a row apart: so a warp reads and writes memory
// without gaps, whatever the dtype. Each thread keeps the gradients of its own columns' weights until the block has done all its rows.
//
// Constants: THREADS, a multiple of 32 that is at least width / 8; CHANGE, OUT (dtypes); THROUGH (whether the sum has a gradient
// of its own); WHOLE (whether width and addresses allow 4 numbers at once).
namespace laclip {
namespace kernels {

struct Columns {
  int first[2];
  int there[2];
};

DEVICE Columns own_columns(int width, int threads) {
  Columns own;
  UNROLL for (int run = 0; run < 2; run++) {
    own.first[run] = (run * threads + thread()) * 4;
    own.there[run] = width - own.first[run];
  }
  return own;
}

}  // namespace kernels
}  // namespace laclip

KERNEL(add_norm_forward, AddNormForward, 1280) {
  using namespace laclip::kernels;
  SHARED float space[SUM_SPACE(1)];
  int turn = 0;
  const Columns own = own_columns(a.width, THREADS);
  float weight[2][4], bias[2][4];
  UNROLL for (int run = 0; run < 2; run++) {
    read(weight[run], a.weight, own.first[run], own.there[run], kFloat32, WHOLE);
    read(bias[run], a.bias, own.first[run], own.there[run], kFloat32, WHOLE);
  }
  const float share = 1.0f / static_cast<float>(a.width);
  for (long long row = block(); row < a.rows; row += blocks()) {
    const long long at = row * a.width;
    float x[2][4];
    UNROLL for (int run = 0; run < 2; run++) read(x[run], a.residual, at + own.first[run], own.there[run], kFloat32, WHOLE);
    if (CHANGE != kAbsent) {
      float change[2][4];
      UNROLL for (int run = 0; run < 2; run++) read(change[run], a.change, at + own.first[run], own.there[run], CHANGE, WHOLE);
      UNROLL for (int run = 0; run < 2; run++) {
        UNROLL for (int i = 0; i < 4; i++) x[run][i] += change[run][i];
        write(x[run], a.sum, at + own.first[run], own.there[run], kFloat32, WHOLE);
      }
    }
    float mean[1] = {0.0f}, square[1] = {0.0f};
    UNROLL for (int run = 0; run < 2; run++) {
      UNROLL for (int i = 0; i < 4; i++) mean[0] += x[run][i];
    }
    block_sums(mean, space, turn, THREADS);
    mean[0] *= share;
    UNROLL for (int run = 0; run < 2; run++) {
      UNROLL for (int i = 0; i < 4; i++) {
        x[run][i] -= mean[0];
        if (i < own.there[run]) square[0] += x[run][i] * x[run][i];
      }
    }
    block_sums(square, space, turn, THREADS);
    const float scale = inverse_root(square[0] * share + a.eps);
    UNROLL for (int run = 0; run < 2; run++) {
      UNROLL for (int i = 0; i < 4; i++) x[run][i] = x[run][i] * scale * weight[run][i] + bias[run][i];
      write(x[run], a.normed, at + own.first[run], own.there[run], OUT, WHOLE);
    }
    if (thread() == 0) {
      a.moments[2 * row] = mean[0];
      a.moments[2 * row + 1] = scale;
    }
  }
}

KERNEL(add_norm_backward, AddNormBackward, 896) {
  using namespace laclip::kernels;
  SHARED float space[SUM_SPACE(2)];
  int turn = 0;
  const Columns own = own_columns(a.width, THREADS);
  float weight[2][4], of_weight[2][4], of_bias[2][4];
  UNROLL for (int run = 0; run < 2; run++) {
    read(weight[run], a.weight, own.first[run], own.there[run], kFloat32, WHOLE);
    UNROLL for (int i = 0; i < 4; i++) of_weight[run][i] = of_bias[run][i] = 0.0f;
  }
  const float share = 1.0f / static_cast<float>(a.width);
  for (long long row = block(); row < a.rows; row += blocks()) {
    const long long at = row * a.width;
    float x[2][4], dy[2][4], dx[2][4];
    UNROLL for (int run = 0; run < 2; run++) read(x[run], a.sum, at + own.first[run], own.there[run], kFloat32, WHOLE);
    UNROLL for (int run = 0; run < 2; run++) read(dy[run], a.of_normed, at + own.first[run], own.there[run], OUT, WHOLE);
    // Asked for before the sums, to be on its way meanwhile.
    UNROLL for (int run = 0; run < 2; run++) {
      read(dx[run], a.through, at + own.first[run], THROUGH ? own.there[run] : 0, kFloat32, WHOLE);
    }
    const float mean = a.moments[2 * row], scale = a.moments[2 * row + 1];
    float sums[2] = {0.0f, 0.0f};
    UNROLL for (int run = 0; run < 2; run++) {
      UNROLL for (int i = 0; i < 4; i++) {
        x[run][i] = (x[run][i] - mean) * scale;
        of_weight[run][i] += dy[run][i] * x[run][i];
        of_bias[run][i] += dy[run][i];
        // Beyond the row, gradient and weight are 0.
        dy[run][i] *= weight[run][i];
        sums[0] += dy[run][i];
        sums[1] += dy[run][i] * x[run][i];
      }
    }
    block_sums(sums, space, turn, THREADS);
    UNROLL for (int run = 0; run < 2; run++) {
      UNROLL for (int i = 0; i < 4; i++) dx[run][i] += scale * (dy[run][i] - sums[0] * share - x[run][i] * (sums[1] * share));
      write(dx[run], a.of_residual, at + own.first[run], own.there[run], kFloat32, WHOLE);
      if (CHANGE != kAbsent) write(dx[run], a.of_change, at + own.first[run], own.there[run], CHANGE, WHOLE);
    }
  }
  float* partial = a.partial + block() * 2 * a.width;
  UNROLL for (int run = 0; run < 2; run++) {
    write(of_weight[run], partial, own.first[run], own.there[run], kFloat32, WHOLE);
    write(of_bias[run], partial, a.width + own.first[run], own.there[run], kFloat32, WHOLE);
  }
}
