// Loops over a row that lies in the cache. Sums run in 16 lanes, which is what lets them be vector instructions, and in an order that does
// not depend on the processor's vectors or on threads.
#include "rows.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "vectorised.h"

namespace laclip {

namespace {

constexpr int64_t lanes = 16;

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float sum_of(const float* lane) {
  float sums[8];
  for (int i = 0; i < 8; i++) sums[i] = lane[i] + lane[i + 8];
  for (int i = 0; i < 4; i++) sums[i] += sums[i + 4];
  return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

// e^x for x <= 0, to about two units in the last place: 2^n times a Taylor polynomial on [-ln 2 / 2, ln 2 / 2].
inline float exponential(float x) {
  // Below this the result is smaller than any number that matters beside 1, and 2^n would leave the normal numbers.
  const float bounded = x > -87.0f ? x : -87.0f;
  const float shifted = bounded * 1.44269504f + 12582912.0f;  // adding 1.5 * 2^23 rounds to a whole number
  const float n = shifted - 12582912.0f;
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.0f / 5040;
  y = y * r + 1.0f / 720;
  y = y * r + 1.0f / 120;
  y = y * r + 1.0f / 24;
  y = y * r + 1.0f / 6;
  y = y * r + 0.5f;
  y = y * r + 1.0f;
  y = y * r + 1.0f;
  const float power = bits_to_float((float_to_bits(shifted) - 0x4B400000u + 127u) << 23);
  return x > -87.0f ? y * power : (x <= -87.0f ? 0.0f : x);
}

}  // namespace

LACLIP_VECTORISED void widen(const uint16_t* __restrict from, float* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = bits_to_float(static_cast<uint32_t>(from[i]) << 16);
}

LACLIP_VECTORISED void narrow(const float* __restrict from, uint16_t* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const uint32_t bits = float_to_bits(from[i]);
    const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    to[i] = static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
  }
}

LACLIP_VECTORISED void add_rows(const float* a, const float* b, float* to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = a[i] + b[i];
}

LACLIP_VECTORISED void scale_and_add(const float* x, float scale, const float* __restrict a, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = x[i] * scale + a[i];
}

LACLIP_VECTORISED Moments moments(const float* __restrict x, int64_t count, float eps) {
  const int64_t whole = count / lanes * lanes;
  float sums[lanes] = {0};
  for (int64_t i = 0; i < whole; i += lanes) {
    for (int64_t j = 0; j < lanes; j++) sums[j] += x[i + j];
  }
  for (int64_t i = whole; i < count; i++) sums[i - whole] += x[i];
  const float mean = sum_of(sums) / static_cast<float>(count);
  float squares[lanes] = {0};
  for (int64_t i = 0; i < whole; i += lanes) {
    for (int64_t j = 0; j < lanes; j++) squares[j] += (x[i + j] - mean) * (x[i + j] - mean);
  }
  for (int64_t i = whole; i < count; i++) squares[i - whole] += (x[i] - mean) * (x[i] - mean);
  return {mean, 1.0f / std::sqrt(sum_of(squares) / static_cast<float>(count) + eps)};
}

LACLIP_VECTORISED Moments normalise(const float* __restrict x, const float* __restrict weight, const float* __restrict bias, float* y,
                                    int64_t count, float eps) {
  const Moments m = moments(x, count, eps);
  for (int64_t i = 0; i < count; i++) y[i] = (x[i] - m.mean) * m.rstd * weight[i] + bias[i];
  return m;
}

LACLIP_VECTORISED void normalise_backward(const float* __restrict x, const float* __restrict dy, const float* __restrict weight, Moments m,
                                          float* __restrict dx, float* __restrict dweight, float* __restrict dbias, int64_t count) {
  const int64_t whole = count / lanes * lanes;
  float sums[lanes] = {0}, products[lanes] = {0};
  for (int64_t i = 0; i < whole; i += lanes) {
    for (int64_t j = 0; j < lanes; j++) {
      const float normalised = (x[i + j] - m.mean) * m.rstd;
      const float g = dy[i + j] * weight[i + j];
      sums[j] += g;
      products[j] += g * normalised;
      dweight[i + j] += dy[i + j] * normalised;
      dbias[i + j] += dy[i + j];
    }
  }
  for (int64_t i = whole; i < count; i++) {
    const float normalised = (x[i] - m.mean) * m.rstd;
    const float g = dy[i] * weight[i];
    sums[i - whole] += g;
    products[i - whole] += g * normalised;
    dweight[i] += dy[i] * normalised;
    dbias[i] += dy[i];
  }
  const float mean = sum_of(sums) / static_cast<float>(count);
  const float slope = sum_of(products) / static_cast<float>(count);
  for (int64_t i = 0; i < count; i++) dx[i] += m.rstd * (dy[i] * weight[i] - mean - (x[i] - m.mean) * m.rstd * slope);
}

LACLIP_VECTORISED void softmax(const float* x, float scale, float* y, int64_t count) {
  // Compared as integers of the same order, since a maximum of floats is a vector instruction only where there are no NaNs.
  int32_t most = std::numeric_limits<int32_t>::min();
  for (int64_t i = 0; i < count; i++) {
    const int32_t bits = static_cast<int32_t>(float_to_bits(x[i]));
    const int32_t key = bits ^ ((bits >> 31) & 0x7FFFFFFF);
    most = key > most ? key : most;
  }
  const float highest = bits_to_float(static_cast<uint32_t>(most ^ ((most >> 31) & 0x7FFFFFFF)));
  for (int64_t i = 0; i < count; i++) y[i] = exponential((x[i] - highest) * scale);
  const int64_t whole = count / lanes * lanes;
  float sums[lanes] = {0};
  for (int64_t i = 0; i < whole; i += lanes) {
    for (int64_t j = 0; j < lanes; j++) sums[j] += y[i + j];
  }
  for (int64_t i = whole; i < count; i++) sums[i - whole] += y[i];
  const float factor = 1.0f / sum_of(sums);
  for (int64_t i = 0; i < count; i++) y[i] *= factor;
}

LACLIP_VECTORISED void softmax_backward(const float* __restrict y, const float* dy, float scale, float* dx, int64_t count) {
  const int64_t whole = count / lanes * lanes;
  float sums[lanes] = {0};
  for (int64_t i = 0; i < whole; i += lanes) {
    for (int64_t j = 0; j < lanes; j++) sums[j] += y[i + j] * dy[i + j];
  }
  for (int64_t i = whole; i < count; i++) sums[i - whole] += y[i] * dy[i];
  const float sum = sum_of(sums);
  for (int64_t i = 0; i < count; i++) dx[i] = scale * y[i] * (dy[i] - sum);
}

}  // namespace laclip
