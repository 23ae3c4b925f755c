// At the full scale the result is Pillow's crop and resize. At a smaller one, the weights are those that come closest to it.
#include "view.h"

#include <cstring>

namespace laclip::images {
View::View(const ViewPlan& plan, int numerator, int decodedWidth, int decodedHeight) : plan_(plan) {
  if (plan.verbatim) {
    left_ = plan.boxX;
    right_ = plan.boxX + plan.boxWidth;
    top_ = plan.boxY;
    bottom_ = plan.boxY + plan.boxHeight;
    return;
  }
  across_ = weigh({plan.boxX, plan.boxWidth, numerator, decodedWidth, plan.width}, plan.kernel, plan.windowX, plan.windowWidth,
                  plan.mirrored);
  down_ = weigh({plan.boxY, plan.boxHeight, numerator, decodedHeight, plan.height}, plan.kernel, plan.windowY, plan.windowHeight, false);
  left_ = across_.lowest();
  right_ = across_.end();
  top_ = down_.lowest();
  bottom_ = down_.end();
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
  passAcross<Channels>(pixels - static_cast<ptrdiff_t>(column) * Channels, across_, &between_[(y - top_) * rowBytes]);
}

template void View::takeRow<3>(int, const uint8_t*, int, uint8_t*);
template void View::takeRow<4>(int, const uint8_t*, int, uint8_t*);

void View::finish(uint8_t* target) {
  if (plan_.verbatim) return;
  passDown(between_.data(), top_, static_cast<size_t>(plan_.windowWidth) * 3, down_, target);
  if (!plan_.changes.empty()) change(target, plan_.windowWidth, plan_.windowHeight, plan_.changes);
}

}  // namespace laclip::images
