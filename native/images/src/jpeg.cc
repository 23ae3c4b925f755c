// libjpeg reports errors by leaving through longjmp, which runs no destructors. So each stretch of calls into it is a function whose own
// values need none; what has to be freed belongs to the class, and is allocated between these stretches.
#include "jpeg.h"

#ifdef LACLIP_WITH_JPEG

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>

#include <jpeglib.h>
#include <jerror.h>

#include "eighth.h"

#ifndef LIBJPEG_TURBO_VERSION
#error "libjpeg-turbo is needed: other libjpegs can't skip rows or columns"
#endif
#define LACLIP_TEXT(x) #x
#define LACLIP_TEXT_OF(x) LACLIP_TEXT(x)

namespace laclip::images {
namespace {

// More scans than any camera or program writes; a crafted file with thousands would keep a thread busy for minutes.
constexpr int mostScans = 500;
// Interpolated colour depends on a neighbour: this many pixels more on both sides, and all inside are as in the whole image.
constexpr int border = 2;
// Rows that libjpeg may return at once; few, so that they are resampled while they lie in the cache.
constexpr int rowsAtOnce = 4;

struct Failure : jpeg_error_mgr {
  std::jmp_buf back;
  bool cutShort = false;
};

[[noreturn]] void leave(j_common_ptr info) { std::longjmp(static_cast<Failure*>(info->err)->back, 1); }

void countWarning(j_common_ptr info, int level) {
  if (level < 0) info->err->num_warnings++;
}

void staySilent(j_common_ptr) {}

boolean endOfBytes(j_decompress_ptr info) {
  static_cast<Failure*>(info->err)->cutShort = true;
  leave(reinterpret_cast<j_common_ptr>(info));
}

void skipBytes(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if (static_cast<size_t>(count) > info->src->bytes_in_buffer) endOfBytes(info);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= count;
}

void nothing(j_decompress_ptr) {}

void watchScans(j_common_ptr info) {
  if (info->is_decompressor && reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > mostScans) leave(info);
}

class Reader {
 public:
  Reader(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {}
  Reader(const Reader&) = delete;
  ~Reader() {
    if (created_) jpeg_destroy_decompress(&info_);
  }

  Outcome view(int width, int height, double leastShrink, const std::vector<ViewPlan>& plans, const std::vector<uint8_t*>& targets) {
    if (!readHeader()) return failure();
    if (static_cast<int>(info_.image_width) != width || static_cast<int>(info_.image_height) != height) return Outcome::otherHeader;
    // Two and four components are left to others, who know what inks mean.
    if (info_.num_components != 1 && info_.num_components != 3) return Outcome::otherHeader;
    // Rows below the views are never looked at, so a missing end would go unnoticed.
    if (!endsInOrder()) return Outcome::cutShort;

    numerator_ = chooseScale(leastShrink, plans);
    if (numerator_ == 1 && viewEighth(plans, targets)) return Outcome::done;
    info_.scale_num = numerator_;
    info_.scale_denom = 8;
    // A fourth byte makes resampling faster; where pixels are only wanted as they are, it would be in the way.
    const bool verbatim = std::all_of(plans.begin(), plans.end(), [](const ViewPlan& plan) { return plan.verbatim; });
    info_.out_color_space = verbatim ? JCS_EXT_RGB : JCS_EXT_RGBX;
    if (!start()) return failure();

    const int decodedWidth = info_.output_width, decodedHeight = info_.output_height;
    views_.reserve(plans.size());
    for (const ViewPlan& plan : plans) views_.emplace_back(plan, numerator_, decodedWidth, decodedHeight);
    targets_ = targets.data();
    for (const View& view : views_) {
      left_ = std::min(left_, view.left());
      right_ = std::max(right_, view.right());
      top_ = std::min(top_, view.top());
      bottom_ = std::max(bottom_, view.bottom());
    }
    if (!narrow(decodedWidth)) return failure();
    if (verbatim && views_.size() == 1 && right_ - left_ == static_cast<int>(info_.output_width)) {
      return copyTo(targets[0]) ? Outcome::done : failure();
    }
    // libjpeg-turbo writes rows that begin at a multiple of 32 past the cache, from where they would have to be fetched at once.
    constexpr size_t aligned = 32, beside = 16;
    const size_t rowBytes = (static_cast<size_t>(info_.output_width) * 4 + rowPadding + aligned) / aligned * aligned;
    rows_.resize(rowBytes * rowsAtOnce + 2 * aligned);
    const size_t shift = aligned - reinterpret_cast<uintptr_t>(rows_.data()) % aligned + beside;
    for (int i = 0; i < rowsAtOnce; i++) rowPointers_[i] = &rows_[rowBytes * i + shift];
    if (!(verbatim ? decode<3>() : decode<4>())) return failure();
    for (size_t i = 0; i < views_.size(); i++) views_[i].finish(targets[i]);
    return Outcome::done;
  }

 private:
  Outcome failure() const { return errors_.cutShort ? Outcome::cutShort : Outcome::damaged; }

  bool readHeader() {
    info_.err = jpeg_std_error(&errors_);
    errors_.error_exit = leave;
    errors_.emit_message = countWarning;
    errors_.output_message = staySilent;
    if (setjmp(errors_.back)) return false;
    jpeg_create_decompress(&info_);
    created_ = true;
    progress_.progress_monitor = watchScans;
    info_.progress = &progress_;
    source_.init_source = nothing;
    source_.fill_input_buffer = endOfBytes;
    source_.skip_input_data = skipBytes;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = nothing;
    source_.next_input_byte = bytes_;
    source_.bytes_in_buffer = size_;
    info_.src = &source_;
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  // In a scan, 0xff is followed by 0 or a restart's number. So an end-of-image marker after the header is one, and not pixels.
  bool endsInOrder() const {
    const uint8_t* scan = source_.next_input_byte;
    for (const uint8_t* at = bytes_ + size_ - 1; at > scan; at--) {
      if (at[0] == 0xd9 && at[-1] == 0xff) return true;
    }
    return false;
  }

  static int chooseScale(double leastShrink, const std::vector<ViewPlan>& plans) {
    for (const int numerator : {1, 2, 4}) {
      const bool enough = std::all_of(plans.begin(), plans.end(), [&](const ViewPlan& plan) {
        return !plan.verbatim && plan.boxWidth * numerator / 8.0 >= plan.width * leastShrink &&
               plan.boxHeight * numerator / 8.0 >= plan.height * leastShrink;
      });
      if (enough) return numerator;
    }
    return 8;
  }

  // Faster than libjpeg; false where it should try.
  bool viewEighth(const std::vector<ViewPlan>& plans, const std::vector<uint8_t*>& targets) const {
    EighthDecoder decoder(info_);
    if (!decoder.known()) return false;
    std::vector<View> views;
    views.reserve(plans.size());
    for (const ViewPlan& plan : plans) views.emplace_back(plan, 1, decoder.width(), decoder.height());
    int top = decoder.height(), bottom = 0;
    for (const View& view : views) {
      top = std::min(top, view.top());
      bottom = std::max(bottom, view.bottom());
    }
    const bool whole = decoder.decode(top, bottom, [&](int y, const uint8_t* row) {
      for (size_t i = 0; i < views.size(); i++) views[i].takeRow<4>(y, row, 0, targets[i]);
    });
    if (!whole) return false;
    for (size_t i = 0; i < views.size(); i++) views[i].finish(targets[i]);
    return true;
  }

  bool start() {
    if (setjmp(errors_.back)) return false;
    jpeg_start_decompress(&info_);
    return true;
  }

  bool narrow(int decodedWidth) {
    if (setjmp(errors_.back)) return false;
    JDIMENSION from = std::max(0, left_ - border);
    JDIMENSION width = std::min(decodedWidth, right_ + border) - from;
    // At a smaller scale, colours of a quarter of the width or height are decoded at twice their size and then widened. Of a cropped row,
    // libjpeg-turbo widens the left half, and the rest is whatever lay in memory.
    const bool croppable = numerator_ == 8 || (info_.max_h_samp_factor <= 2 && info_.max_v_samp_factor <= 2);
    if (croppable && static_cast<int>(width) < decodedWidth) {
      jpeg_crop_scanline(&info_, &from, &width);
      column_ = from;
    }
    if (top_ > 0) jpeg_skip_scanlines(&info_, top_);
    return true;
  }

  // Whole rows that are wanted as they are go where they belong at once.
  bool copyTo(uint8_t* target) {
    if (setjmp(errors_.back)) return false;
    const size_t rowBytes = static_cast<size_t>(info_.output_width) * 3;
    while (static_cast<int>(info_.output_scanline) < bottom_) {
      const int y = info_.output_scanline;
      for (int i = 0; i < rowsAtOnce; i++) rowPointers_[i] = target + (y - top_ + i) * rowBytes;
      jpeg_read_scanlines(&info_, rowPointers_, std::min(rowsAtOnce, bottom_ - y));
    }
    return true;
  }

  template <int Channels>
  bool decode() {
    if (setjmp(errors_.back)) return false;
    while (static_cast<int>(info_.output_scanline) < bottom_) {
      const int y = info_.output_scanline;
      const int count = jpeg_read_scanlines(&info_, rowPointers_, std::min(rowsAtOnce, bottom_ - y));
      for (size_t i = 0; i < views_.size(); i++) {
        for (int row = 0; row < count; row++) views_[i].template takeRow<Channels>(y + row, rowPointers_[row], column_, targets_[i]);
      }
    }
    return true;
  }

  const uint8_t* bytes_;
  size_t size_;
  bool created_ = false;
  int numerator_ = 8;
  int column_ = 0;
  int left_ = 1 << 30, right_ = 0, top_ = 1 << 30, bottom_ = 0;
  jpeg_decompress_struct info_{};
  Failure errors_{};
  jpeg_progress_mgr progress_{};
  jpeg_source_mgr source_{};
  std::vector<View> views_;
  uint8_t* const* targets_ = nullptr;
  std::vector<uint8_t> rows_;
  JSAMPROW rowPointers_[rowsAtOnce];
};

}  // namespace

const char* jpegLibrary() { return LACLIP_TEXT_OF(LIBJPEG_TURBO_VERSION); }

Outcome viewJpeg(const uint8_t* bytes, size_t size, int width, int height, double leastShrink, const std::vector<ViewPlan>& plans,
                 const std::vector<uint8_t*>& targets) {
  const auto reader = std::make_unique<Reader>(bytes, size);
  return reader->view(width, height, leastShrink, plans, targets);
}

}  // namespace laclip::images

#else

namespace laclip::images {

const char* jpegLibrary() { return nullptr; }

Outcome viewJpeg(const uint8_t*, size_t, int, int, double, const std::vector<ViewPlan>&, const std::vector<uint8_t*>&) {
  return Outcome::damaged;
}

}  // namespace laclip::images

#endif
