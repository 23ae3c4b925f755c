#include "eighth.h"

#ifdef LACLIP_WITH_JPEG

#include <algorithm>

#include "resample.h"

namespace laclip::images {
namespace {

constexpr int block = 8;
// Of quantization, in all but the coarsest of JPEGs.
constexpr int largestStep = 255;

int divideUp(int a, int b) { return (a + b - 1) / b; }

// How much of a coefficient the mean of a half or a quarter of a block has: sqrt(2) times the mean of its cosine there, and that squared
// for both directions. In 64ths: 32 bits hold the sum of any four coefficients.
constexpr int ofMean = 64, ofChange = 58, ofBoth = 53;

// From 64ths of eight samples.
uint8_t toSample(int sum) { return static_cast<uint8_t>(std::clamp(((sum + 256) >> 9) + 128, 0, 255)); }

// JFIF's colours, in libjpeg's arithmetic of 16 fractional bits.
void toPixel(int luma, int blue, int red, uint8_t* pixel) {
  constexpr int half = 1 << 15;
  blue -= 128;
  red -= 128;
  const auto toByte = [](int value) { return static_cast<uint8_t>(std::clamp(value, 0, 255)); };
  pixel[0] = toByte(luma + ((91881 * red + half) >> 16));
  pixel[1] = toByte(luma + ((-22554 * blue - 46802 * red + half) >> 16));
  pixel[2] = toByte(luma + ((116130 * blue + half) >> 16));
}

}  // namespace

EighthDecoder::EighthDecoder(const jpeg_decompress_struct& info)
    : width_(divideUp(info.image_width, block)), height_(divideUp(info.image_height, block)), interval_(info.restart_interval) {
  const int count = info.num_components;
  const bool gray = count == 1 && info.jpeg_color_space == JCS_GRAYSCALE;
  const bool colours = count == 3 && info.jpeg_color_space == JCS_YCbCr;
  if (info.progressive_mode || info.arith_code || info.data_precision != 8 || info.comps_in_scan != count || !(gray || colours)) return;
  if (colours) {
    across_ = info.comp_info[0].h_samp_factor;
    down_ = info.comp_info[0].v_samp_factor;
    const auto whole = [](const jpeg_component_info& c) { return c.h_samp_factor == 1 && c.v_samp_factor == 1; };
    if (across_ > 2 || down_ > 2 || !whole(info.comp_info[1]) || !whole(info.comp_info[2])) return;
  }
  units_ = divideUp(width_, across_);
  rowSamples_ = static_cast<size_t>(units_) * across_;
  samples_.resize(rowSamples_ * down_ * count);
  pixels_.resize(static_cast<size_t>(width_) * 4 + rowPadding);

  codes_.resize(2 * count);
  for (int i = 0; i < count; i++) {
    const jpeg_component_info& from = info.comp_info[i];
    // libjpeg looks at these numbers later.
    const auto none = [](int table, int tables) { return table < 0 || table >= tables; };
    if (none(from.quant_tbl_no, NUM_QUANT_TBLS) || none(from.dc_tbl_no, NUM_HUFF_TBLS) || none(from.ac_tbl_no, NUM_HUFF_TBLS)) return;
    const JQUANT_TBL* steps = info.quant_tbl_ptrs[from.quant_tbl_no];
    const JHUFF_TBL* means = info.dc_huff_tbl_ptrs[from.dc_tbl_no];
    const JHUFF_TBL* details = info.ac_huff_tbl_ptrs[from.ac_tbl_no];
    if (steps == nullptr || means == nullptr || details == nullptr) return;
    const auto step = [&](int place) { return static_cast<int>(steps->quantval[place]); };
    if (std::max({step(0), step(1), step(8), step(9)}) > largestStep) return;
    Component to{&codes_[2 * i], &codes_[2 * i + 1], {}, 0, &samples_[rowSamples_ * down_ * i]};
    to.weights[0] = step(0) * ofMean;
    to.weights[1] = step(1) * ofChange;
    to.weights[2] = step(8) * ofChange;
    to.weights[3] = step(9) * ofBoth;
    // The colours' codes are the same, mostly, and making their tables takes as long as decoding a small image.
    const bool same = i == 2 && from.dc_tbl_no == info.comp_info[1].dc_tbl_no && from.ac_tbl_no == info.comp_info[1].ac_tbl_no;
    if (same) {
      to.means = components_[1].means;
      to.details = components_[1].details;
    } else if (!codes_[2 * i].assign(means->bits, means->huffval, true) ||
               !codes_[2 * i + 1].assign(details->bits, details->huffval, false)) {
      return;
    }
    components_.push_back(to);
  }
  bits_ = ScanBits(info.src->next_input_byte, info.src->bytes_in_buffer);
  known_ = true;
}

// Passes what lies between restart markers above the row `top` without reading it.
bool EighthDecoder::begin(int top) {
  bits_.begin(window_);
  if (interval_ == 0) return true;
  untilRestart_ = interval_;
  // A row is read from its first unit on, so only markers between rows are of use.
  const int64_t above = static_cast<int64_t>(top / down_) * units_;
  int64_t passable = above / interval_ * interval_;
  while (passable % units_ != 0) passable -= interval_;
  for (int64_t passed = 0; passed < passable; passed += interval_) {
    if (!bits_.skipToRestart(window_, restart_)) return false;
    restart_ = (restart_ + 1) % 8;
  }
  next_ = static_cast<int>(passable / units_) * down_;
  return true;
}

bool EighthDecoder::restart() {
  if (!bits_.restart(window_, restart_)) return false;
  restart_ = (restart_ + 1) % 8;
  untilRestart_ = interval_ - 1;
  for (Component& component : components_) component.before = 0;
  return true;
}

// A row of units. `Across`, `Down`: samples of a unit.
template <int Across, int Down>
bool EighthDecoder::readUnits() {
  // What is used for each block is held outside of memory that samples may lie in, as far as the compiler knows.
  ScanBits::Window bits = window_;
  const size_t rowSamples = rowSamples_;
  const int count = static_cast<int>(components_.size()), units = units_;
  for (int unit = 0; unit < units; unit++) {
    if (interval_ > 0 && untilRestart_-- == 0) {
      window_ = bits;
      if (!restart()) return false;
      bits = window_;
    }
    if (!bits_.ready(bits)) return false;
    for (int i = 0; i < count; i++) {
      Component& component = components_[i];
      const HuffmanCode& means = *component.means;
      const HuffmanCode& details = *component.details;
      uint8_t* samples = component.samples + static_cast<size_t>(unit) * Across;
      int before = component.before;
      const auto readMean = [&](int& mean) {
        int difference = 0;
        if (!means.readMean(bits, difference)) return false;
        before = static_cast<int16_t>(before + difference);
        mean = before * component.weights[0];
        return true;
      };
      int mean = 0;
      if (i == 0 || Across * Down == 1) {
        for (int y = 0; y < Down; y++) {
          for (int x = 0; x < Across; x++) {
            if (!readMean(mean) || !details.pass(bits)) return false;
            samples[y * rowSamples + x] = toSample(mean);
          }
        }
      } else {
        int slowest[3] = {0, 0, 0};
        if (!readMean(mean) || !details.readSlowest(bits, slowest)) return false;
        const int right = Across == 1 ? 0 : slowest[0] * component.weights[1];
        const int below = Down == 1 ? 0 : slowest[1] * component.weights[2];
        const int both = Across * Down < 4 ? 0 : slowest[2] * component.weights[3];
        samples[0] = toSample(mean + right + below + both);
        if (Across == 2) samples[1] = toSample(mean - right + below - both);
        if (Down == 2) samples[rowSamples] = toSample(mean + right - below - both);
        if (Across * Down == 4) samples[rowSamples + 1] = toSample(mean - right - below + both);
      }
      component.before = static_cast<int16_t>(before);
    }
  }
  window_ = bits;
  next_ += Down;
  return true;
}

bool EighthDecoder::readRow() {
  if (across_ == 1) return down_ == 1 ? readUnits<1, 1>() : readUnits<1, 2>();
  return down_ == 1 ? readUnits<2, 1>() : readUnits<2, 2>();
}

const uint8_t* EighthDecoder::pixelsOf(int y) {
  const size_t row = (y % down_) * rowSamples_;
  const uint8_t* luma = components_[0].samples + row;
  uint8_t* pixel = pixels_.data();
  if (components_.size() == 1) {
    for (int x = 0; x < width_; x++, pixel += 4) pixel[0] = pixel[1] = pixel[2] = luma[x];
    return pixels_.data();
  }
  const uint8_t* blue = components_[1].samples + row;
  const uint8_t* red = components_[2].samples + row;
  for (int x = 0; x < width_; x++, pixel += 4) toPixel(luma[x], blue[x], red[x], pixel);
  return pixels_.data();
}

}  // namespace laclip::images

#endif
