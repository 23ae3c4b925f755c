// Pillow's resampling, bit by bit: weights of 22 fractional bits, a pass across and a pass down, bytes between them.
//
// The same arithmetic as src/images/resample.ts, which says where it comes from. Rows may come one after the other, so that a decoder
// hands each over while it lies in the cache, and no whole image is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace laclip::images {

enum class Kernel { bilinear, bicubic };

// The pixels [start, start + size) of a line become `outputSize` pixels. The line was decoded at numerator / 8 of its size, and then
// has `decoded` samples. The kernel sees no pixel outside of the stretch.
struct Stretch {
  int start;
  int size;
  int numerator;
  int decoded;
  int outputSize;
};

// For each output pixel, the input pixels under its kernel and their weights. All pixels have the same number of taps: those that a
// kernel lacks at a border have weight 0, and lie inside of the line.
struct Weights {
  int taps = 0;
  std::vector<int32_t> first;   // counted from the line's first sample
  std::vector<int32_t> values;  // [outputs, taps]
  std::vector<int32_t> lanes;   // [outputs, taps rounded up to even, 4]: each weight for all channels of a pixel

  int outputs() const { return static_cast<int>(first.size()); }
  int lowest() const;  // first input pixel that any output needs
  int end() const;     // one after the last
};

// Weights of the output pixels [from, from + outputs); in reverse order when `mirrored`.
Weights weigh(const Stretch& stretch, Kernel kernel, int from, int outputs, bool mirrored);

// Bytes after the last pixel of a row that passAcross may read, without using them.
constexpr size_t rowPadding = 16;

// One row across. `source` points to the line's first sample; each pixel has `Channels` bytes. `target` gets
// outputs x 3 bytes, and one more byte after them is overwritten.
template <int Channels>
void passAcross(const uint8_t* source, const Weights& across, uint8_t* target);

// All rows down: `source` is the row `firstRow`, rows are `rowBytes` apart. `target` gets outputs x rowBytes bytes.
void passDown(const uint8_t* source, int firstRow, size_t rowBytes, const Weights& down, uint8_t* target);

}  // namespace laclip::images
