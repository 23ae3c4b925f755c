// On processors with AVX2 the passes use it: across, two pixels' channels lie side by side in a register; down, 16 bytes of a row. The
// plain loops beside them give the same bits.
#include "resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__) || defined(_M_X64)
#define LACLIP_AVX2 1
#include <immintrin.h>
#endif

namespace laclip::images {
namespace {

constexpr int fractionBits = 22;
constexpr int32_t half = 1 << (fractionBits - 1);

double bilinear(double x) {
  x = std::fabs(x);
  return x < 1 ? 1 - x : 0;
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

uint8_t toByte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> fractionBits, 0, 255)); }

template <int Channels>
void acrossPlain(const uint8_t* source, const Weights& w, uint8_t* target) {
  const int32_t* values = w.values.data();
  for (int x = 0; x < w.outputs(); x++, values += w.taps, target += 3) {
    const uint8_t* at = source + static_cast<ptrdiff_t>(w.first[x]) * Channels;
    int32_t red = half, green = half, blue = half;
    for (int k = 0; k < w.taps; k++, at += Channels) {
      red += at[0] * values[k];
      green += at[1] * values[k];
      blue += at[2] * values[k];
    }
    target[0] = toByte(red);
    target[1] = toByte(green);
    target[2] = toByte(blue);
  }
}

void downPlain(const uint8_t* source, size_t rowBytes, const int32_t* values, int taps, size_t x, uint8_t* target) {
  for (; x < rowBytes; x++) {
    int32_t sum = half;
    for (int k = 0; k < taps; k++) sum += source[k * rowBytes + x] * values[k];
    target[x] = toByte(sum);
  }
}

#ifdef LACLIP_AVX2
#define LACLIP_WITH_AVX2 __attribute__((target("avx2")))

template <int Channels, int Pairs>
LACLIP_WITH_AVX2 inline __attribute__((always_inline)) void acrossPairs(const uint8_t* source, const Weights& w, uint8_t* target) {
  const int pairs = Pairs > 0 ? Pairs : (w.taps + 1) / 2;
  const auto* lanes = reinterpret_cast<const __m256i*>(w.lanes.data());
  const int32_t* first = w.first.data();
  const int outputs = w.outputs();
  const __m128i apart = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  for (int x = 0; x < outputs; x++, lanes += pairs, target += 3) {
    const uint8_t* at = source + static_cast<ptrdiff_t>(first[x]) * Channels;
    __m256i sums = _mm256_setzero_si256();
    for (int pair = 0; pair < pairs; pair++, at += 2 * Channels) {
      __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
      if (Channels == 3) bytes = _mm_shuffle_epi8(bytes, apart);
      sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), _mm256_loadu_si256(lanes + pair)));
    }
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(half)), fractionBits);
    sum = _mm_packus_epi16(_mm_packus_epi32(sum, sum), sum);
    // Four bytes where three are wanted: the next pixel overwrites the fourth.
    const int32_t pixel = _mm_cvtsi128_si32(sum);
    std::memcpy(target, &pixel, 4);
  }
}

template <int Channels>
LACLIP_WITH_AVX2 void acrossAvx2(const uint8_t* source, const Weights& w, uint8_t* target) {
  switch ((w.taps + 1) / 2) {
    case 1: return acrossPairs<Channels, 1>(source, w, target);
    case 2: return acrossPairs<Channels, 2>(source, w, target);
    case 3: return acrossPairs<Channels, 3>(source, w, target);
    default: return acrossPairs<Channels, 0>(source, w, target);
  }
}

LACLIP_WITH_AVX2 void downAvx2(const uint8_t* source, size_t rowBytes, const int32_t* values, int taps, uint8_t* target) {
  size_t x = 0;
  for (; x + 16 <= rowBytes; x += 16) {
    __m256i low = _mm256_set1_epi32(half), high = low;
    const uint8_t* at = source + x;
    for (int k = 0; k < taps; k++, at += rowBytes) {
      const __m256i weight = _mm256_set1_epi32(values[k]);
      low = _mm256_add_epi32(low, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))), weight));
      high = _mm256_add_epi32(high, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at + 8))), weight));
    }
    // Packing works within halves of a register, so the quarters come out as 0 2 1 3.
    __m256i words = _mm256_packus_epi32(_mm256_srai_epi32(low, fractionBits), _mm256_srai_epi32(high, fractionBits));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target + x), bytes);
  }
  downPlain(source, rowBytes, values, taps, x, target);
}

const bool hasAvx2 = __builtin_cpu_supports("avx2");
#endif

}  // namespace

int Weights::lowest() const { return *std::min_element(first.begin(), first.end()); }

int Weights::end() const { return *std::max_element(first.begin(), first.end()) + taps; }

namespace {

// The weights of one output pixel, before they are rounded.
struct Taps {
  int first;
  std::vector<double> values;
};

// Pillow's order of operations: the last bit of a weight depends on it.
Taps tapsOf(int size, int outputSize, Kernel kernel, int pixel) {
  const auto weight = kernel == Kernel::bilinear ? bilinear : bicubic;
  const double scale = static_cast<double>(size) / outputSize;
  const double widening = std::max(scale, 1.0);
  const double support = (kernel == Kernel::bilinear ? 1.0 : 2.0) * widening;
  const double inverse = 1 / widening;
  const double center = (pixel + 0.5) * scale;
  const int low = std::max(0, static_cast<int>(center - support + 0.5));
  const int high = std::min(size, static_cast<int>(center + support + 0.5));
  Taps taps{low, std::vector<double>(high - low)};
  double sum = 0;
  for (int k = low; k < high; k++) {
    taps.values[k - low] = weight((k - center + 0.5) * inverse);
    sum += taps.values[k - low];
  }
  if (sum != 0) {
    for (double& value : taps.values) value /= sum;
  }
  return taps;
}

// How a block's `numerator` samples make its 8 pixels: the inverse of the block's cosine transform at 8 points after the transform at
// `numerator` points. [8, numerator]
std::vector<double> blockExpansion(int numerator) {
  const double pi = std::acos(-1.0);
  std::vector<double> matrix(8 * static_cast<size_t>(numerator), 1.0 / numerator);
  for (int x = 0; x < 8; x++) {
    for (int j = 0; j < numerator; j++) {
      for (int u = 1; u < numerator; u++) {
        matrix[x * numerator + j] += 2.0 / numerator * std::cos((2 * x + 1) * u * pi / 16) * std::cos((2 * j + 1) * u * pi / (2 * numerator));
      }
    }
  }
  return matrix;
}

// The weights on the samples of an image at numerator / 8 that give what `taps` give on the pixels these samples stand for. What is
// lost is the fine detail that the samples do not have, and nothing else.
Taps scaleDown(const Taps& taps, int start, int numerator, int decoded, const std::vector<double>& expansion) {
  const int first = (start + taps.first) / 8 * numerator;
  const int end = std::min(decoded, ((start + taps.first + static_cast<int>(taps.values.size()) - 1) / 8 + 1) * numerator);
  Taps scaled{first, std::vector<double>(end - first)};
  for (size_t k = 0; k < taps.values.size(); k++) {
    const int pixel = start + taps.first + static_cast<int>(k);
    for (int j = 0; j < numerator; j++) {
      // Of an image's last block, samples beyond the border are not given.
      const int sample = std::min(end - 1, pixel / 8 * numerator + j);
      scaled.values[sample - first] += taps.values[k] * expansion[pixel % 8 * numerator + j];
    }
  }
  return scaled;
}

}  // namespace

Weights weigh(const Stretch& stretch, Kernel kernel, int from, int outputs, bool mirrored) {
  const int numerator = stretch.numerator;
  const auto expansion = numerator == 8 ? std::vector<double>() : blockExpansion(numerator);
  std::vector<Taps> exact;
  exact.reserve(outputs);
  int low = stretch.decoded, high = 0;
  size_t most = 1;
  for (int i = 0; i < outputs; i++) {
    Taps taps = tapsOf(stretch.size, stretch.outputSize, kernel, from + (mirrored ? outputs - 1 - i : i));
    if (numerator == 8) {
      taps.first += stretch.start;
    } else {
      taps = scaleDown(taps, stretch.start, numerator, stretch.decoded, expansion);
    }
    low = std::min(low, taps.first);
    high = std::max(high, taps.first + static_cast<int>(taps.values.size()));
    most = std::max(most, taps.values.size());
    exact.push_back(std::move(taps));
  }

  Weights weights;
  weights.taps = static_cast<int>(most);
  weights.first.resize(outputs);
  weights.values.assign(outputs * most, 0);
  const size_t even = (most + 1) / 2 * 2;
  weights.lanes.assign(outputs * even * 4, 0);
  for (int i = 0; i < outputs; i++) {
    // Where the taps would reach beyond the end, they begin earlier, with zeros.
    weights.first[i] = std::max(low, std::min(exact[i].first, high - weights.taps));
    const size_t shift = exact[i].first - weights.first[i];
    for (size_t k = 0; k < exact[i].values.size(); k++) {
      const double share = exact[i].values[k] * (1 << fractionBits);
      const auto value = static_cast<int32_t>(share < 0 ? share - 0.5 : share + 0.5);
      weights.values[i * most + shift + k] = value;
      std::fill_n(&weights.lanes[(i * even + shift + k) * 4], 4, value);
    }
  }
  return weights;
}

template <int Channels>
void passAcross(const uint8_t* source, const Weights& across, uint8_t* target) {
#ifdef LACLIP_AVX2
  if (hasAvx2) return acrossAvx2<Channels>(source, across, target);
#endif
  acrossPlain<Channels>(source, across, target);
}

template void passAcross<3>(const uint8_t*, const Weights&, uint8_t*);
template void passAcross<4>(const uint8_t*, const Weights&, uint8_t*);

void passDown(const uint8_t* source, int firstRow, size_t rowBytes, const Weights& down, uint8_t* target) {
  for (int y = 0; y < down.outputs(); y++, target += rowBytes) {
    const uint8_t* from = source + static_cast<size_t>(down.first[y] - firstRow) * rowBytes;
    const int32_t* values = &down.values[static_cast<size_t>(y) * down.taps];
#ifdef LACLIP_AVX2
    if (hasAvx2) {
      downAvx2(from, rowBytes, values, down.taps, target);
      continue;
    }
#endif
    downPlain(from, rowBytes, values, down.taps, 0, target);
  }
}

}  // namespace laclip::images
