// At the full scale the box has whole pixels, and the result is Pillow's crop and resize. At a smaller one its borders fall between
// pixels: the kernel then keeps to the pixels that the box touches, as it keeps to the crop at the full scale.
#include "view.h"

#include <cmath>
#include <cstring>

namespace laclip::images {
namespace {

struct Span {
  int origin;
  Stretch stretch;
};

Span place(int start, int size, int numerator, int decoded, int outputSize) {
  if (numerator == 8) return {start, {0, static_cast<double>(size), 0, size, outputSize}};
  const double from = start * numerator / 8.0;
  const double to = (start + size) * numerator / 8.0;
  const int origin = static_cast<int>(std::floor(from));
  const int end = std::min(decoded, static_cast<int>(std::ceil(to)));
  return {origin, {from - origin, to - from, 0, end - origin, outputSize}};
}

}  // namespace

View::View(const ViewPlan& plan, int numerator, int decodedWidth, int decodedHeight) : plan_(plan) {
  if (plan.verbatim) {
    left_ = plan.boxX;
    right_ = plan.boxX + plan.boxWidth;
    top_ = plan.boxY;
    bottom_ = plan.boxY + plan.boxHeight;
    return;
  }
  const Span x = place(plan.boxX, plan.boxWidth, numerator, decodedWidth, plan.width);
  const Span y = place(plan.boxY, plan.boxHeight, numerator, decodedHeight, plan.height);
  across_ = weigh(x.stretch, plan.kernel, plan.windowX, plan.windowWidth, plan.mirrored);
  down_ = weigh(y.stretch, plan.kernel, plan.windowY, plan.windowHeight, false);
  originX_ = x.origin;
  originY_ = y.origin;
  left_ = originX_ + across_.lowest();
  right_ = originX_ + across_.end();
  top_ = originY_ + down_.lowest();
  bottom_ = originY_ + down_.end();
  // One byte more for the last pixel's fourth.
  between_.resize(static_cast<size_t>(bottom_ - top_) * plan.windowWidth * 3 + 1);
}

template <int Channels>
void View::takeRow(int y, const uint8_t* pixels, int column, uint8_t* target) {
  if (y < top_ || y >= bottom_) return;
  const size_t rowBytes = static_cast<size_t>(plan_.windowWidth) * 3;
  if (plan_.verbatim) {
    const uint8_t* from = pixels + static_cast<size_t>(left_ - column) * Channels;
    uint8_t* to = target + (y - top_) * rowBytes;
    if (Channels == 3) {
      std::memcpy(to, from, rowBytes);
    } else {
      for (int x = 0; x < plan_.windowWidth; x++, from += Channels, to += 3) std::memcpy(to, from, 3);
    }
    return;
  }
  passAcross<Channels>(pixels + static_cast<ptrdiff_t>(originX_ - column) * Channels, across_, &between_[(y - top_) * rowBytes]);
}

template void View::takeRow<3>(int, const uint8_t*, int, uint8_t*);
template void View::takeRow<4>(int, const uint8_t*, int, uint8_t*);

void View::finish(uint8_t* target) {
  if (plan_.verbatim) return;
  passDown(between_.data(), top_ - originY_, static_cast<size_t>(plan_.windowWidth) * 3, down_, target);
  if (!plan_.changes.empty()) change(target, plan_.windowWidth, plan_.windowHeight, plan_.changes);
}

}  // namespace laclip::images
