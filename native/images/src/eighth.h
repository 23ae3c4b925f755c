// A JPEG at an eighth of its size: of each block one sample, its mean. What else is in a block is stepped over.
//
// libjpeg decodes every coefficient before it drops it, which with large photos is nearly all of its work. This is for the commonest
// JPEGs alone: one scan of Huffman codes, gray, or with colours at the full or half of the width and height. All others stay libjpeg's.
#pragma once

#ifdef LACLIP_WITH_JPEG

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <jpeglib.h>

#include "huffman.h"

namespace laclip::images {

class EighthDecoder {
 public:
  // `info`: after jpeg_read_header, with its source at the scan's first byte. It is not changed, and its bytes must outlive this.
  explicit EighthDecoder(const jpeg_decompress_struct& info);
  EighthDecoder(const EighthDecoder&) = delete;

  // Whether the JPEG is of a kind that is decoded here.
  bool known() const { return known_; }
  int width() const { return width_; }
  int height() const { return height_; }

  // Calls take(y, row) for the rows [top, bottom) in their order. A row has width() pixels of four bytes, and rowPadding bytes after them.
  // False when the scan is damaged: what was taken is then of no use. To be called once.
  template <typename Take>
  bool decode(int top, int bottom, Take&& take) {
    if (!begin(top)) return false;
    for (int y = next_; y < bottom;) {
      if (!readRow()) return false;
      for (; y < next_ && y < bottom; y++) {
        if (y >= top) take(y, pixelsOf(y));
      }
    }
    return bits_.whole(window_);
  }

 private:
  struct Component {
    const HuffmanCode* means;
    const HuffmanCode* details;
    int weights[4];    // of the coefficients: the mean, and the slowest change across, down, and in both directions
    int16_t before;    // mean of the block before, in steps of quantization
    uint8_t* samples;  // rows of a unit, rowSamples_ apart
  };

  bool begin(int top);
  bool readRow();
  template <int Across, int Down>
  bool readUnits();
  bool restart();
  const uint8_t* pixelsOf(int y);

  bool known_ = false;
  int width_ = 0, height_ = 0;
  // Samples of a unit of the scan, and units of a row.
  int across_ = 1, down_ = 1, units_ = 0;
  // Units between restart markers (0: there are none), and until the next one; its number.
  int interval_ = 0, untilRestart_ = 0, restart_ = 0;
  // The row after those that were read.
  int next_ = 0;
  std::vector<HuffmanCode> codes_;
  std::vector<Component> components_;
  ScanBits bits_;
  ScanBits::Window window_;
  size_t rowSamples_ = 0;
  std::vector<uint8_t> samples_;
  std::vector<uint8_t> pixels_;
};

}  // namespace laclip::images

#endif
