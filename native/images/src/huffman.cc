// Follows ITU T.81, annexes C and F. Whatever the bits are, all loops end within a block.
#include "huffman.h"

#include <algorithm>

namespace laclip::images {
namespace {

// The symbol for sixteen zeros; other symbols without a value end the block.
constexpr int zeros = 0xf0;

bool endsBlock(uint8_t symbol) { return (symbol & 15) == 0 && symbol != zeros; }

// The lower half of the values of so many bits is negative.
int16_t valueOf(uint64_t bits, int size) {
  if (size == 0) return 0;
  const int value = static_cast<int>(bits);
  return static_cast<int16_t>(value < 1 << (size - 1) ? value - (1 << size) + 1 : value);
}

}  // namespace

bool HuffmanCode::assign(const uint8_t* counts, const uint8_t* symbols, bool ofMeans) {
  uint32_t code = 0;
  int known = 0;
  for (int length = 1; length <= 16; length++) {
    offsets_[length] = known - static_cast<int>(code);
    code += counts[length];
    known += counts[length];
    // No code is of ones alone.
    if (known > 256 || code >= 1u << length) return false;
    limits_[length] = code << (16 - length);
    code <<= 1;
  }
  if (ofMeans && std::any_of(symbols, symbols + known, [](uint8_t symbol) { return symbol > 15; })) return false;
  std::copy_n(symbols, 256, values_);
  lookForSymbols();
  if (!ofMeans) lookForSteps();
  return true;
}

uint8_t HuffmanCode::runOf(uint8_t symbol) { return endsBlock(symbol) ? blockEnd : symbol >> 4; }

// Bits of the code that these begin with, and what it stands for; 0 when there is none.
int HuffmanCode::lengthOf(uint32_t sixteen, uint8_t& symbol) const {
  for (int length = 1; length <= 16; length++) {
    if (sixteen >= limits_[length]) continue;
    symbol = values_[offsets_[length] + static_cast<int>(sixteen >> (16 - length))];
    return length;
  }
  return 0;
}

void HuffmanCode::lookForSymbols() {
  for (int look = 0; look < 1 << symbolBits; look++) {
    uint8_t symbol = 0;
    const int length = lengthOf(static_cast<uint32_t>(look) << (16 - symbolBits), symbol);
    const int size = symbol & 15, bits = length + size;
    symbols_[look] = {};
    if (length == 0 || bits > symbolBits) continue;
    symbols_[look] = {valueOf((look >> (symbolBits - bits)) & ((1 << size) - 1), size), runOf(symbol), static_cast<uint8_t>(bits)};
  }
}

void HuffmanCode::lookForSteps() {
  constexpr int looks = 1 << stepBits;
  // The first code of each look: its length, 0 where it is longer than the look, and what it stands for.
  struct First {
    uint8_t length, symbol;
  };
  First firsts[looks] = {};
  for (int look = 0; look < looks;) {
    First first{};
    const int length = lengthOf(static_cast<uint32_t>(look) << (16 - stepBits), first.symbol);
    if (length == 0 || length > stepBits) break;
    first.length = static_cast<uint8_t>(length);
    std::fill_n(&firsts[look], looks >> length, first);
    look += looks >> length;
  }
  for (int look = 0; look < looks; look++) {
    int bits = 0;
    unsigned coefficients = 0;
    while (bits < stepBits && coefficients < over) {
      const auto [length, symbol] = firsts[look << bits & (looks - 1)];
      const unsigned passed = (symbol >> 4) + 1;
      // Its value may lie beyond the look, since nobody asks for it.
      if (length == 0 || bits + length > stepBits || (!endsBlock(symbol) && coefficients + passed >= unknown)) break;
      bits += length + (symbol & 15);
      coefficients += endsBlock(symbol) ? over : passed;
    }
    steps_[look] = static_cast<uint16_t>(bits == 0 ? unknown << 6 : coefficients << 6 | bits);
  }
}

bool HuffmanCode::nextSlowly(ScanBits::Window& bits, Symbol& found) const {
  uint8_t symbol = 0;
  const int length = lengthOf(static_cast<uint32_t>(bits.held >> 48), symbol);
  if (length == 0) return false;
  bits.drop(length);
  const int size = symbol & 15;
  found = {size == 0 ? int16_t{0} : valueOf(bits.held >> (64 - size), size), runOf(symbol), 0};
  bits.drop(size);
  return true;
}

bool HuffmanCode::passSlowly(ScanBits::Window& bits, int k) const {
  while (k < 64) {
    Symbol symbol;
    bits.hold();
    if (!nextSlowly(bits, symbol)) return false;
    if (symbol.run == blockEnd) return true;
    k += symbol.run + 1;
  }
  return k == 64;
}

}  // namespace laclip::images
