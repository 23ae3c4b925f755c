// The bits of a JPEG's scan: its bytes without those that were stuffed into it, piece by piece, up to the next marker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace laclip::images {

class ScanBits {
 public:
  // The bits that come next. Loops have a copy of it, which then lies in registers.
  struct Window {
    uint64_t held = 0;
    int count = 0;
    const uint8_t* at = nullptr;

    // At least 56 bits in `held`, the next one first.
    void hold() {
      uint64_t next;
      std::memcpy(&next, at, sizeof next);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
      next = __builtin_bswap64(next);
#endif
      held |= next >> count;
      at += (63 - count) >> 3;
      count |= 56;
    }
    void drop(unsigned bits) {
      held <<= bits;
      count -= static_cast<int>(bits);
    }
  };

  ScanBits() = default;
  // `bytes`: from the scan's header on, up to the end of the file.
  ScanBits(const uint8_t* bytes, size_t size);

  // To be called first.
  void begin(Window& bits) { fill(bits); }

  // Makes sure that a unit of the scan may be read. False when one before has read what is not there.
  bool ready(Window& bits) {
    if (bits.at <= limit_) return true;
    Window copy = bits;
    const bool good = more(copy);
    bits = copy;
    return good;
  }

  // Goes on after the restart marker of this number. False when the bits do not end there, or another marker comes.
  bool restart(Window& bits, int number);
  // The same, whatever comes before it.
  bool skipToRestart(Window& bits, int number);

  // True when no bit was read that is not there.
  bool whole(const Window& bits) const { return !ended_ || left(bits) >= 0; }

 private:
  bool more(Window& bits);
  void fill(Window& bits);
  bool pass(Window& bits, int number);
  ptrdiff_t left(const Window& bits) const { return (buffer_.data() + filled_ - bits.at) * 8 + bits.count; }

  const uint8_t* source_ = nullptr;
  const uint8_t* sourceEnd_ = nullptr;
  std::vector<uint8_t> buffer_;
  size_t filled_ = 0;
  const uint8_t* limit_ = nullptr;
  // Whether a marker, or the end of the file, follows what is in the buffer.
  bool ended_ = false;
};

}  // namespace laclip::images
