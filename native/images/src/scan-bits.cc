#include "scan-bits.h"

#include <algorithm>

namespace laclip::images {
namespace {

// Bytes that are kept: they stay in a processor's nearest cache.
constexpr size_t piece = 16384;
// More than a unit of the scan has: six blocks of 64 codes, each of up to 31 bits, and what a window holds ahead.
constexpr size_t longestUnit = 2048;
constexpr size_t windowBytes = 8;

}  // namespace

ScanBits::ScanBits(const uint8_t* bytes, size_t size)
    : source_(bytes), sourceEnd_(bytes + size), buffer_(piece + 2 * longestUnit), limit_(nullptr) {}

// What was not read yet moves to the front, and the next bytes follow it.
void ScanBits::fill(Window& bits) {
  const ptrdiff_t left = bits.at == nullptr ? 0 : std::max<ptrdiff_t>(0, buffer_.data() + filled_ - bits.at);
  if (left > 0) std::memmove(buffer_.data(), bits.at, left);
  bits.at = buffer_.data();
  uint8_t* to = buffer_.data() + left;
  uint8_t* const full = buffer_.data() + piece + longestUnit;
  while (!ended_ && to < full) {
    const size_t most = std::min(full - to, sourceEnd_ - source_);
    const auto* special = static_cast<const uint8_t*>(std::memchr(source_, 0xff, most));
    const size_t plain = special == nullptr ? most : special - source_;
    std::memcpy(to, source_, plain);
    to += plain;
    source_ += plain;
    if (special == nullptr) {
      ended_ = source_ == sourceEnd_;
      continue;
    }
    const uint8_t* after = source_ + 1;
    while (after < sourceEnd_ && *after == 0xff) after++;
    ended_ = after == sourceEnd_ || *after != 0;
    if (ended_) break;
    *to++ = 0xff;
    source_ = after + 1;
  }
  filled_ = to - buffer_.data();
  std::memset(to, 0, longestUnit);
  limit_ = ended_ ? to + windowBytes : to - longestUnit;
}

bool ScanBits::more(Window& bits) {
  if (ended_) return false;
  fill(bits);
  return bits.at <= limit_;
}

bool ScanBits::pass(Window& bits, int number) {
  const uint8_t* marker = source_;
  while (marker < sourceEnd_ && *marker == 0xff) marker++;
  if (marker == source_ || marker == sourceEnd_ || *marker != 0xd0 + number) return false;
  source_ = marker + 1;
  filled_ = 0;
  bits = {};
  ended_ = false;
  fill(bits);
  return true;
}

bool ScanBits::restart(Window& bits, int number) {
  if (!ended_) fill(bits);
  // What is left of the last byte fills it up.
  const ptrdiff_t padding = left(bits);
  return ended_ && padding >= 0 && padding < 8 && pass(bits, number);
}

bool ScanBits::skipToRestart(Window& bits, int number) {
  while (!ended_) {
    const auto* special = static_cast<const uint8_t*>(std::memchr(source_, 0xff, sourceEnd_ - source_));
    if (special == nullptr || special + 1 == sourceEnd_) return false;
    source_ = special;
    ended_ = special[1] != 0 && special[1] != 0xff;
    if (!ended_) source_ += special[1] == 0 ? 2 : 1;
  }
  return pass(bits, number);
}

}  // namespace laclip::images
