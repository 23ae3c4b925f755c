// What SLIP's views do to colours, with the arithmetic of Pillow as torchvision calls it: Blend.c, Convert.c, BoxBlur.c.
//
// The results are Pillow's byte for byte, so single precision, truncation and the order of operations are part of the definition.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "view.h"

// Loops that the compiler turns into vectors: once for processors with AVX2, once for all others.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define LACLIP_VERSIONS __attribute__((target_clones("avx2", "default")))
#else
#define LACLIP_VERSIONS
#endif

namespace laclip::images {
namespace {

// ITU-R 601 luma in 16 fractional bits.
uint8_t luma(const uint8_t* pixel) {
  return static_cast<uint8_t>((pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16);
}

// From `base` towards `value` and beyond: factor 0 gives the base, 1 the value.
inline uint8_t blend(int base, int value, float factor) {
  const float mixed = static_cast<float>(base) + factor * static_cast<float>(value - base);
  const float kept = mixed < 0 ? 0 : mixed > 255 ? 255 : mixed;
  return static_cast<uint8_t>(static_cast<int>(kept));
}

// The same as a table for a base that all pixels share.
void blendAll(uint8_t* pixels, size_t count, int base, float factor) {
  uint8_t table[256];
  for (int value = 0; value < 256; value++) table[value] = blend(base, value, factor);
  for (size_t i = 0; i < count; i++) pixels[i] = table[pixels[i]];
}

int meanLuma(const uint8_t* pixels, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += luma(pixels + i * 3);
  return static_cast<int>(sum / static_cast<double>(count) + 0.5);
}

LACLIP_VERSIONS void blendEach(uint8_t* pixels, const uint8_t* bases, size_t count, float factor) {
  for (size_t i = 0; i < count; i++) pixels[i] = blend(bases[i], pixels[i], factor);
}

void saturate(uint8_t* pixels, size_t count, float factor) {
  constexpr size_t atOnce = 512;
  uint8_t grays[atOnce * 3];
  for (size_t i = 0; i < count; i += atOnce, pixels += atOnce * 3) {
    const size_t here = std::min(atOnce, count - i);
    for (size_t k = 0; k < here; k++) std::memset(grays + k * 3, luma(pixels + k * 3), 3);
    blendEach(pixels, grays, here * 3, factor);
  }
}

// Where the hue of a pixel lies, in 255ths of a turn; `most` and `range` are of its channels, and range is not 0. Without branches: which
// channel is the strongest is hard to foresee.
inline int hueOf(const uint8_t* pixel, int most, float range) {
  static constexpr int next[] = {1, 2, 0}, afterNext[] = {2, 0, 1};
  const int strongest = (pixel[0] != most) * (1 + (pixel[1] != most));
  const float nextLack = static_cast<float>(most - pixel[next[strongest]]) / range;
  const float otherLack = static_cast<float>(most - pixel[afterNext[strongest]]) / range;
  const float sixth = static_cast<float>(2.0 * strongest + otherLack - nextLack);
  // From 5/6 to below 2, of which the fraction counts.
  double turn = sixth / 6.0 + 1.0;
  turn -= turn >= 1 ? 1 : 0;
  return static_cast<int>(static_cast<float>(turn) * 255.0);
}

// To the nearest number, a half upwards. Levels are not negative.
inline uint8_t nearest(double level) { return static_cast<uint8_t>(static_cast<int>(level + 0.5)); }

// Which levels a sixth of the circle gives to red, green and blue, by their places in a word: value 0, t 8, p 16, q 24.
constexpr uint8_t levelPlaces[6][3] = {{0, 8, 16}, {24, 0, 16}, {16, 0, 8}, {16, 24, 0}, {8, 16, 0}, {0, 16, 24}};

// Through hue, saturation and value, each a byte. The shift is cut to a byte first, towards zero, and hues go round.
void turnHue(uint8_t* pixels, size_t count, double turns) {
  const auto shift = static_cast<uint8_t>(static_cast<int>(turns * 255));
  int sectors[256];
  float rests[256];
  for (int hue = 0; hue < 256; hue++) {
    const double sixths = static_cast<float>(hue) * 6.0 / 255.0;
    sectors[hue] = static_cast<int>(std::floor(sixths)) % 6;
    rests[hue] = static_cast<float>(sixths - std::floor(sixths));
  }
  for (size_t i = 0; i < count; i++, pixels += 3) {
    const int red = pixels[0], green = pixels[1], blue = pixels[2];
    const int most = std::max(red, std::max(green, blue));
    const int least = std::min(red, std::min(green, blue));
    // A gray has no hue to turn.
    if (most == least) continue;
    const float range = static_cast<float>(most - least);
    const int saturation = static_cast<int>(range / static_cast<float>(most) * 255.0);
    const auto value = static_cast<uint8_t>(most);
    if (saturation == 0) {
      std::memset(pixels, value, 3);
      continue;
    }
    const auto hue = static_cast<uint8_t>(hueOf(pixels, most, range) + shift);
    const float share = static_cast<float>(saturation / 255.0);
    const float rest = rests[hue];
    const double level = most;
    const uint8_t p = nearest(level * (1.0 - share));
    const uint8_t q = nearest(level * (1.0 - share * rest));
    const uint8_t t = nearest(level * (1.0 - share * (1.0 - rest)));
    const uint32_t levels = value | t << 8 | static_cast<uint32_t>(p) << 16 | static_cast<uint32_t>(q) << 24;
    const uint8_t* places = levelPlaces[sectors[hue]];
    for (int c = 0; c < 3; c++) pixels[c] = static_cast<uint8_t>(levels >> places[c]);
  }
}

void toGray(uint8_t* pixels, size_t count) {
  for (size_t i = 0; i < count; i++, pixels += 3) std::memset(pixels, luma(pixels), 3);
}

// A box of `radius` whole pixels to each side, and a share of the next one, in 24 fractional bits.
struct BlurBox {
  int radius;
  uint32_t inner;
  uint32_t outer;
};

constexpr int blurPasses = 3;

// The box that, passed three times, comes closest to a Gaussian of this deviation.
BlurBox blurBox(float deviation) {
  const float variance = deviation * deviation / blurPasses;
  const float length = static_cast<float>(std::sqrt(12.0 * variance + 1.0));
  const float whole = static_cast<float>(std::floor((length - 1.0) / 2.0));
  float share = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  share /= 6 * (variance - (whole + 1) * (whole + 1));
  const float radius = whole + share;
  const int pixels = static_cast<int>(radius);
  const auto inner = static_cast<uint32_t>((1 << 24) / (radius * 2 + 1));
  return {pixels, inner, ((1u << 24) - (pixels * 2 + 1) * inner) / 2};
}

// One output row: the box's sums, and half a pixel's share of the rows just outside of it. Then the box moves one row on.
LACLIP_VERSIONS void blurRow(const uint8_t* before, const uint8_t* leaving, const uint8_t* after, uint32_t* sums, uint8_t* result,
                             size_t bytes, uint32_t inner, uint32_t outer) {
  for (size_t i = 0; i < bytes; i++) {
    const uint32_t both = static_cast<uint32_t>(before[i]) + after[i];
    result[i] = static_cast<uint8_t>((sums[i] * inner + both * outer + (1u << 23)) >> 24);
    sums[i] += static_cast<uint32_t>(after[i]) - leaving[i];
  }
}

// One pass down all columns at once. Rows beyond the ends are as the last ones.
void blurDown(const uint8_t* pixels, uint8_t* result, int rows, size_t rowBytes, const BlurBox& box, std::vector<uint32_t>& sums) {
  const auto row = [&](int y) { return pixels + static_cast<size_t>(std::clamp(y, 0, rows - 1)) * rowBytes; };
  sums.assign(rowBytes, 0);
  for (int y = -box.radius; y <= box.radius; y++) {
    const uint8_t* in = row(y);
    for (size_t i = 0; i < rowBytes; i++) sums[i] += in[i];
  }
  for (int y = 0; y < rows; y++) {
    blurRow(row(y - box.radius - 1), row(y - box.radius), row(y + box.radius + 1), sums.data(), result + y * rowBytes, rowBytes, box.inner,
            box.outer);
  }
}

void transpose(const uint8_t* pixels, uint8_t* result, int width, int height) {
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++, pixels += 3) {
      uint8_t* to = result + (static_cast<size_t>(x) * height + y) * 3;
      to[0] = pixels[0];
      to[1] = pixels[1];
      to[2] = pixels[2];
    }
  }
}

// Across and then down; across is down in the transposed picture.
void blur(uint8_t* pixels, int width, int height, float deviation) {
  const BlurBox box = blurBox(deviation);
  std::vector<uint8_t> other(static_cast<size_t>(width) * height * 3);
  std::vector<uint32_t> sums;
  uint8_t* from = pixels;
  uint8_t* to = other.data();
  for (const auto& [length, across] : {std::pair(width, height), std::pair(height, width)}) {
    // The picture lies with `length` pixels in a row; lay it so that these stand below each other.
    transpose(from, to, length, across);
    std::swap(from, to);
    for (int pass = 0; pass < blurPasses; pass++, std::swap(from, to)) {
      blurDown(from, to, length, static_cast<size_t>(across) * 3, box, sums);
    }
  }
}

}  // namespace

void change(uint8_t* pixels, int width, int height, const std::vector<Change>& changes) {
  const size_t count = static_cast<size_t>(width) * height;
  for (const Change& change : changes) {
    const float factor = static_cast<float>(change.amount);
    switch (change.kind) {
      case Change::brightness: blendAll(pixels, count * 3, 0, factor); break;
      case Change::contrast: blendAll(pixels, count * 3, meanLuma(pixels, count), factor); break;
      case Change::saturation: saturate(pixels, count, factor); break;
      case Change::hue: turnHue(pixels, count, change.amount); break;
      case Change::grayscale: toGray(pixels, count); break;
      case Change::blur: blur(pixels, width, height, factor); break;
    }
  }
}

}  // namespace laclip::images
