// What SLIP's views do to colours, with the arithmetic of Pillow as torchvision calls it: Blend.c, Convert.c, BoxBlur.c.
//
// The results are Pillow's byte for byte, so single precision, truncation and the order of operations are part of the definition.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "view.h"

namespace laclip::images {
namespace {

// ITU-R 601 luma in 16 fractional bits.
uint8_t luma(const uint8_t* pixel) {
  return static_cast<uint8_t>((pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16);
}

// From `base` towards `value` and beyond: factor 0 gives the base, 1 the value.
uint8_t blend(int base, int value, float factor) {
  const float mixed = base + factor * (value - base);
  return mixed <= 0 ? 0 : mixed >= 255 ? 255 : static_cast<uint8_t>(mixed);
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

void saturate(uint8_t* pixels, size_t count, float factor) {
  for (size_t i = 0; i < count; i++, pixels += 3) {
    const int gray = luma(pixels);
    for (int c = 0; c < 3; c++) pixels[c] = blend(gray, pixels[c], factor);
  }
}

struct Hsv {
  uint8_t hue, saturation, value;
};

Hsv toHsv(const uint8_t* pixel) {
  const int red = pixel[0], green = pixel[1], blue = pixel[2];
  const int most = std::max(red, std::max(green, blue));
  const int least = std::min(red, std::min(green, blue));
  if (most == least) return {0, 0, static_cast<uint8_t>(most)};
  const float range = static_cast<float>(most - least);
  const float saturation = range / static_cast<float>(most);
  const float redLack = static_cast<float>(most - red) / range;
  const float greenLack = static_cast<float>(most - green) / range;
  const float blueLack = static_cast<float>(most - blue) / range;
  float sixth;
  if (red == most) {
    sixth = blueLack - greenLack;
  } else if (green == most) {
    sixth = static_cast<float>(2.0 + redLack - blueLack);
  } else {
    sixth = static_cast<float>(4.0 + greenLack - redLack);
  }
  const float hue = static_cast<float>(std::fmod(sixth / 6.0 + 1.0, 1.0));
  return {static_cast<uint8_t>(std::clamp(static_cast<int>(hue * 255.0), 0, 255)),
          static_cast<uint8_t>(std::clamp(static_cast<int>(saturation * 255.0), 0, 255)), static_cast<uint8_t>(most)};
}

void fromHsv(Hsv hsv, uint8_t* pixel) {
  const uint8_t v = hsv.value;
  if (hsv.saturation == 0) {
    std::memset(pixel, v, 3);
    return;
  }
  const double sixths = static_cast<float>(hsv.hue) * 6.0 / 255.0;
  const int sector = static_cast<int>(std::floor(sixths));
  const float rest = static_cast<float>(sixths - static_cast<float>(sector));
  const float saturation = static_cast<float>(static_cast<float>(hsv.saturation) / 255.0);
  const auto level = [v](double share) {
    return static_cast<uint8_t>(std::clamp(static_cast<int>(static_cast<float>(std::round(static_cast<float>(v) * share))), 0, 255));
  };
  const uint8_t p = level(1.0 - saturation);
  const uint8_t q = level(1.0 - saturation * rest);
  const uint8_t t = level(1.0 - saturation * (1.0 - rest));
  const uint8_t sectors[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
  std::memcpy(pixel, sectors[sector % 6], 3);
}

// The shift is cut to a byte first, towards zero, and hues go round.
void turnHue(uint8_t* pixels, size_t count, double turns) {
  const auto shift = static_cast<uint8_t>(static_cast<int>(turns * 255));
  for (size_t i = 0; i < count; i++, pixels += 3) {
    Hsv hsv = toHsv(pixels);
    hsv.hue = static_cast<uint8_t>(hsv.hue + shift);
    fromHsv(hsv, pixels);
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

// One pass along a line of `length` elements of `Lanes` bytes, `step` bytes apart. Pixels beyond the ends are as the last ones.
void blurLine(const uint8_t* line, uint8_t* result, int length, size_t step, int lanes, const BlurBox& box, std::vector<uint32_t>& sums) {
  const auto at = [&](int i) { return line + std::clamp(i, 0, length - 1) * step; };
  sums.assign(lanes, 0);
  for (int i = -box.radius; i <= box.radius; i++) {
    const uint8_t* in = at(i);
    for (int lane = 0; lane < lanes; lane++) sums[lane] += in[lane];
  }
  uint32_t* sum = sums.data();
  for (int i = 0; i < length; i++) {
    const uint8_t* before = at(i - box.radius - 1);
    const uint8_t* after = at(i + box.radius + 1);
    const uint8_t* leaving = at(i - box.radius);
    uint8_t* out = result + i * step;
    for (int lane = 0; lane < lanes; lane++) {
      out[lane] = static_cast<uint8_t>((sum[lane] * box.inner + (before[lane] + after[lane]) * box.outer + (1u << 23)) >> 24);
      sum[lane] += after[lane] - leaving[lane];
    }
  }
}

void blur(uint8_t* pixels, int width, int height, float deviation) {
  const BlurBox box = blurBox(deviation);
  const size_t rowBytes = static_cast<size_t>(width) * 3;
  std::vector<uint8_t> other(rowBytes * height);
  std::vector<uint32_t> sums;
  uint8_t* from = pixels;
  uint8_t* to = other.data();
  for (int pass = 0; pass < blurPasses; pass++, std::swap(from, to)) {
    for (int y = 0; y < height; y++) blurLine(from + y * rowBytes, to + y * rowBytes, width, 3, 3, box, sums);
  }
  for (int pass = 0; pass < blurPasses; pass++, std::swap(from, to)) {
    blurLine(from, to, height, rowBytes, static_cast<int>(rowBytes), box, sums);
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
