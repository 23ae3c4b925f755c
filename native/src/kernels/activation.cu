// GELU, exactly and in CLIP's approximation x sigmoid(1.702 x), forward and backward. For the way back the input is enough.
//
// Of the normal distribution's share below x, 1/2 erfc(|x| / sqrt 2) is taken as a polynomial times e^(-x^2 / 2) (Abramowitz and Stegun,
// Handbook of Mathematical Functions, 7.1.26: off by at most 1.5e-7). The derivative needs the same power, and in 16 bits an erf to the last
// place would take longer than the memory.
//
// A thread has COLUMNS neighbouring numbers, twice: a block's worth apart, or with a bias two rows.
//
// Constants: THREADS, COLUMNS (16 bytes), TYPE (dtype), QUICK (the approximation), WHOLE (whether count, or width with a bias, and addresses
// allow COLUMNS at once).
namespace laclip {
namespace kernels {

// Share of the normal distribution below x, and its density there.
DEVICE void normal(float x, float& below, float& density) {
  const float size = x < 0.0f ? -x : x;
  const float t = quotient(1.0f, 1.0f + 0.2316418882f * size);  // 0.3275911 / sqrt 2
  const float power = exponential(-0.5f * x * x);
  const float beyond =
      0.5f * t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) * power;
  below = x < 0.0f ? beyond : 1.0f - beyond;
  density = 0.3989422804f * power;
}

DEVICE float sigmoid(float x) { return quotient(1.0f, 1.0f + exponential(-x)); }

DEVICE float activated(float x, bool quick) {
  if (quick) return x * sigmoid(1.702f * x);
  float below, density;
  normal(x, below, density);
  return x * below;
}

DEVICE float slope(float x, bool quick) {
  if (quick) {
    const float share = sigmoid(1.702f * x);
    return share + 1.702f * x * share * (1.0f - share);
  }
  float below, density;
  normal(x, below, density);
  return below + x * density;
}

// How many of the numbers from `at` on are a thread's own.
DEVICE int rest(long long at, long long count, int columns) { return count - at > columns ? columns : static_cast<int>(count - at); }

}  // namespace kernels
}  // namespace laclip

KERNEL(activate_forward, Activate, 1536) {
  using namespace laclip::kernels;
  const long long start = (block() * 2 * THREADS + thread()) * COLUMNS;
  float x[2][COLUMNS_MOST];
  UNROLL for (int run = 0; run < 2; run++) {
    const long long at = start + run * THREADS * COLUMNS;
    read(x[run], a.x, at, rest(at, a.count, COLUMNS), TYPE, WHOLE);
  }
  UNROLL for (int run = 0; run < 2; run++) {
    UNROLL for (int i = 0; i < COLUMNS; i++) x[run][i] = activated(x[run][i], QUICK);
    const long long at = start + run * THREADS * COLUMNS;
    write(x[run], a.y, at, rest(at, a.count, COLUMNS), TYPE, WHOLE);
  }
}

KERNEL(activate_backward, ActivateBackward, 1024) {
  using namespace laclip::kernels;
  const long long start = (block() * 2 * THREADS + thread()) * COLUMNS;
  float x[2][COLUMNS_MOST], dy[2][COLUMNS_MOST];
  UNROLL for (int run = 0; run < 2; run++) {
    const long long at = start + run * THREADS * COLUMNS;
    read(x[run], a.x, at, rest(at, a.count, COLUMNS), TYPE, WHOLE);
    read(dy[run], a.of_y, at, rest(at, a.count, COLUMNS), TYPE, WHOLE);
  }
  UNROLL for (int run = 0; run < 2; run++) {
    UNROLL for (int i = 0; i < COLUMNS; i++) dy[run][i] *= slope(x[run][i], QUICK);
    const long long at = start + run * THREADS * COLUMNS;
    write(dy[run], a.of_x, at, rest(at, a.count, COLUMNS), TYPE, WHOLE);
  }
}

// The same, and the gradient of the bias that was added to x before, the sum over its rows. A block has some neighbouring columns, and of
// these every so manieth row.
KERNEL(activate_backward_with_bias, ActivateBackwardWithBias, 1024) {
  using namespace laclip::kernels;
  const long long slab = block() / a.tiles, slabs = blocks() / a.tiles;
  const int first = (static_cast<int>(block() % a.tiles) * THREADS + thread()) * COLUMNS;
  const int there = rest(first, a.width, COLUMNS);
  float sum[COLUMNS_MOST];
  UNROLL for (int i = 0; i < COLUMNS; i++) sum[i] = 0.0f;
  for (long long row = slab; row < a.rows; row += 2 * slabs) {
    float x[2][COLUMNS_MOST], dy[2][COLUMNS_MOST];
    UNROLL for (int r = 0; r < 2; r++) {
      const long long own = row + r * slabs;
      read(x[r], a.x, own * a.width + first, own < a.rows ? there : 0, TYPE, WHOLE);
      read(dy[r], a.of_y, own * a.width + first, own < a.rows ? there : 0, TYPE, WHOLE);
    }
    UNROLL for (int r = 0; r < 2; r++) {
      const long long own = row + r * slabs;
      UNROLL for (int i = 0; i < COLUMNS; i++) {
        dy[r][i] *= slope(x[r][i], QUICK);
        sum[i] += dy[r][i];
      }
      write(dy[r], a.of_x, own * a.width + first, own < a.rows ? there : 0, TYPE, WHOLE);
    }
  }
  write(sum, a.of_bias, slab * a.width + first, there, kFloat32, WHOLE);
}
