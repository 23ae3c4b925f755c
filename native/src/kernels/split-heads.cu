// The LayerNorms of each head's query and key, and the way back from the gradients of query, key and value to that of the stacked projection.
//
// A row of the projection is 3 x heads vectors of `depth` numbers. A group of LANES threads has one of them, COLUMNS numbers a thread, and a
// block goes along whole rows, ROWS at a time: so that enough of memory is on its way. The value is copied by nobody: attention reads it
// where it lies. Where there are no norms, query and key stay there too, and only the way back is a kernel.
//
// Constants: THREADS, a multiple of 32; LANES, a power of two up to 32; COLUMNS, 16 bytes; TYPE (dtype of all but weights), WHOLE (whether
// depth and addresses allow COLUMNS numbers at once), NORMS (whether query and key are normalised), BIAS (whether the gradient of the
// projection's bias is made as well, which is the sum over its rows). LANES x COLUMNS is at least depth.
namespace laclip {
namespace kernels {

// Rows of a block that are worked on at the same time.
constexpr int ROWS = 2;

// How many of the numbers that are left are a thread's own.
DEVICE int own_share(int left, int columns) { return left < columns ? left : columns; }

}  // namespace kernels
}  // namespace laclip

KERNEL(split_heads_forward, SplitHeadsForward, 1024) {
  using namespace laclip::kernels;
  const int groups = THREADS / LANES, group = thread() / LANES, first = thread() % LANES * COLUMNS, vectors = 2 * a.heads;
  const float share = 1.0f / static_cast<float>(a.depth);
  // The same number of turns for all threads, since sums are made together.
  for (int start = 0; start < vectors; start += groups) {
    const int vector = start + group, part = vector / a.heads;
    const int there = vector < vectors ? own_share(a.depth - first, COLUMNS) : 0;
    float weight[COLUMNS_MOST], bias[COLUMNS_MOST];
    read(weight, part == 0 ? a.weights[0] : a.weights[1], first, there, kFloat32, WHOLE);
    read(bias, part == 0 ? a.biases[0] : a.biases[1], first, there, kFloat32, WHOLE);
    for (long long row = block(); row < a.rows; row += ROWS * blocks()) {
      float x[ROWS][COLUMNS_MOST], means[ROWS], squares[ROWS];
      int in_row[ROWS];
      UNROLL for (int r = 0; r < ROWS; r++) {
        const long long own = row + r * blocks();
        in_row[r] = own < a.rows ? there : 0;
        read(x[r], a.projected, (own * 3 * a.heads + vector) * a.depth + first, in_row[r], TYPE, WHOLE);
      }
      UNROLL for (int r = 0; r < ROWS; r++) {
        means[r] = squares[r] = 0.0f;
        UNROLL for (int i = 0; i < COLUMNS; i++) means[r] += x[r][i];
      }
      lane_sums(means, LANES);
      UNROLL for (int r = 0; r < ROWS; r++) {
        UNROLL for (int i = 0; i < COLUMNS; i++) {
          x[r][i] -= means[r] * share;
          if (i < in_row[r]) squares[r] += x[r][i] * x[r][i];
        }
      }
      lane_sums(squares, LANES);
      UNROLL for (int r = 0; r < ROWS; r++) {
        const float scale = inverse_root(squares[r] * share + a.eps);
        UNROLL for (int i = 0; i < COLUMNS; i++) x[r][i] = x[r][i] * scale * weight[i] + bias[i];
        write(x[r], a.normed, ((row + r * blocks()) * vectors + vector) * a.depth + first, in_row[r], TYPE, WHOLE);
      }
    }
  }
}

KERNEL(split_heads_backward, SplitHeadsBackward, 576) {
  using namespace laclip::kernels;
  const int groups = THREADS / LANES, group = thread() / LANES, first = thread() % LANES * COLUMNS, vectors = 3 * a.heads;
  const float share = 1.0f / static_cast<float>(a.depth);
  for (int start = 0; start < vectors; start += groups) {
    const int vector = start + group;
    const int part = vector >= 2 * a.heads ? 2 : vector >= a.heads ? 1 : 0;
    const int head = vector - part * a.heads;
    const bool normed = NORMS && part < 2;
    const int there = vector < vectors ? own_share(a.depth - first, COLUMNS) : 0;
    const void* gradient = a.of_part[part];
    float weight[COLUMNS_MOST], of_weight[COLUMNS_MOST], of_bias[COLUMNS_MOST], sum[COLUMNS_MOST];
    read(weight, part == 0 ? a.weights[0] : a.weights[1], first, normed ? there : 0, kFloat32, WHOLE);
    UNROLL for (int i = 0; i < COLUMNS; i++) of_weight[i] = of_bias[i] = sum[i] = 0.0f;
    for (long long row = block(); row < a.rows; row += ROWS * blocks()) {
      float x[ROWS][COLUMNS_MOST], dy[ROWS][COLUMNS_MOST], means[ROWS], squares[ROWS];
      int in_row[ROWS];
      UNROLL for (int r = 0; r < ROWS; r++) {
        const long long own = row + r * blocks();
        in_row[r] = own < a.rows ? there : 0;
        // Rows are fewer than 2^31, and dividing is shorter then.
        const unsigned token = static_cast<unsigned>(own) % static_cast<unsigned>(a.tokens);
        const unsigned sample = static_cast<unsigned>(own) / static_cast<unsigned>(a.tokens);
        const long long from = sample * a.strides[part][0] + head * a.strides[part][1] + token * a.strides[part][2] + first;
        read(dy[r], gradient, from, gradient == nullptr ? 0 : in_row[r], TYPE, WHOLE);
        if (NORMS) read(x[r], a.projected, (own * vectors + vector) * a.depth + first, normed ? in_row[r] : 0, TYPE, WHOLE);
      }
      if (NORMS) {
        UNROLL for (int r = 0; r < ROWS; r++) {
          means[r] = squares[r] = 0.0f;
          UNROLL for (int i = 0; i < COLUMNS; i++) means[r] += x[r][i];
        }
        lane_sums(means, LANES);
        UNROLL for (int r = 0; r < ROWS; r++) {
          UNROLL for (int i = 0; i < COLUMNS; i++) {
            x[r][i] -= means[r] * share;
            if (i < in_row[r]) squares[r] += x[r][i] * x[r][i];
          }
        }
        lane_sums(squares, LANES);
        float sums[2 * ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) {
          squares[r] = inverse_root(squares[r] * share + a.eps);
          sums[2 * r] = sums[2 * r + 1] = 0.0f;
          UNROLL for (int i = 0; i < COLUMNS; i++) {
            // 0 beyond the vector, as gradient and weight are.
            x[r][i] = i < in_row[r] ? x[r][i] * squares[r] : 0.0f;
            if (!normed) continue;
            of_weight[i] += dy[r][i] * x[r][i];
            of_bias[i] += dy[r][i];
            dy[r][i] *= weight[i];
            sums[2 * r] += dy[r][i];
            sums[2 * r + 1] += dy[r][i] * x[r][i];
          }
        }
        lane_sums(sums, LANES);
        UNROLL for (int r = 0; r < ROWS; r++) {
          UNROLL for (int i = 0; i < COLUMNS; i++) {
            if (normed) dy[r][i] = squares[r] * (dy[r][i] - sums[2 * r] * share - x[r][i] * (sums[2 * r + 1] * share));
          }
        }
      }
      UNROLL for (int r = 0; r < ROWS; r++) {
        write(dy[r], a.of_projected, ((row + r * blocks()) * vectors + vector) * a.depth + first, in_row[r], TYPE, WHOLE);
        // What lies beyond a row's end is never written, and 0 where there is no row.
        UNROLL for (int i = 0; i < COLUMNS; i++) sum[i] += dy[r][i];
      }
    }
    if (BIAS) write(sum, a.of_bias, (block() * vectors + vector) * a.depth + first, there, kFloat32, WHOLE);
    if (normed) {
      const long long at = ((block() * 2 + part) * a.heads + head) * 2 * a.depth + first;
      write(of_weight, a.partial, at, there, kFloat32, WHOLE);
      write(of_bias, a.partial, at + a.depth, there, kFloat32, WHOLE);
    }
  }
}
