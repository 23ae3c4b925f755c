// Huffman codes of a JPEG's scan, read by tables: a symbol at a time, or as many as fit into one look.
#pragma once

#include <cstdint>

#include "scan-bits.h"

namespace laclip::images {

// A code of the DHT segment, of blocks' means or of all other coefficients.
class HuffmanCode {
 public:
  // `counts[length]`: number of codes of 1 to 16 bits; their symbols in `symbols`, of which there are 256.
  // False when there can be no such code.
  bool assign(const uint8_t* counts, const uint8_t* symbols, bool ofMeans);

  // The difference of a block's mean to that of the block before. False for bits that are no code.
  bool readMean(ScanBits::Window& bits, int& difference) const {
    bits.hold();
    Symbol symbol;
    if (!next(bits, symbol)) return false;
    difference = symbol.value;
    return true;
  }

  // Passes the coefficients of a block from the kth on.
  bool pass(ScanBits::Window& bits, int k = 1) const {
    for (;;) {
      bits.hold();
      // Two looks take no more than 54 bits: twelve, and a value of fifteen after them.
      for (int i = 0; i < 2; i++) {
        const unsigned step = steps_[bits.held >> (64 - stepBits)];
        const unsigned passed = k + (step >> 6);
        if (passed >= unknown) {
          // Where codes were taken for the block's that come after its last coefficient, they are read once more, one by one.
          if (passed < over || passed >= over + unknown) return aside(bits, [&](auto& copy) { return passSlowly(copy, k); });
          bits.drop(step & 63);
          return true;
        }
        bits.drop(step & 63);
        k = static_cast<int>(passed);
      }
    }
  }

  // The same from the first one on, with the values of the slowest change across, down, and in both directions.
  bool readSlowest(ScanBits::Window& bits, int values[3]) const {
    // In the order of the scan: across, down, twice as fast down, both.
    int k = 1;
    while (k <= 4) {
      bits.hold();
      Symbol symbol;
      if (!next(bits, symbol)) return false;
      if (symbol.run == blockEnd) return true;
      k += symbol.run;
      if (k <= 2) values[k - 1] = symbol.value;
      if (k == 4) values[2] = symbol.value;
      k++;
    }
    return pass(bits, k);
  }

 private:
  // Bits that are looked at: for one symbol, and for as many as they hold. Longer ones find more, and leave the nearest cache.
  static constexpr int symbolBits = 9, stepBits = 12;
  // What a look finds: bits in the low six, above them the number of coefficients; `over` where the block ends, `unknown` where a code is
  // longer than the look.
  static constexpr unsigned over = 128, unknown = 64;

  // With the value that follows it.
  struct Symbol {
    int16_t value;
    uint8_t run;   // coefficients before it that are 0; or blockEnd
    uint8_t bits;  // 0: more than were looked at
  };
  static constexpr uint8_t blockEnd = 64;

  bool next(ScanBits::Window& bits, Symbol& symbol) const {
    symbol = symbols_[bits.held >> (64 - symbolBits)];
    if (symbol.bits > 0) {
      bits.drop(symbol.bits);
      return true;
    }
    Symbol found{};
    const bool good = aside(bits, [&](auto& copy) { return nextSlowly(copy, found); });
    symbol = found;
    return good;
  }

  // Bits whose address was seen elsewhere could not stay in registers.
  template <typename Work>
  static bool aside(ScanBits::Window& bits, Work&& work) {
    ScanBits::Window copy = bits;
    const bool good = work(copy);
    bits = copy;
    return good;
  }

  static uint8_t runOf(uint8_t symbol);
  int lengthOf(uint32_t sixteen, uint8_t& symbol) const;
  bool nextSlowly(ScanBits::Window& bits, Symbol& symbol) const;
  bool passSlowly(ScanBits::Window& bits, int k) const;
  void lookForSymbols();
  void lookForSteps();

  uint32_t limits_[17];
  int32_t offsets_[17];
  uint8_t values_[256];
  Symbol symbols_[1 << symbolBits];
  uint16_t steps_[1 << stepBits];
};

}  // namespace laclip::images
