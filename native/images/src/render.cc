#include "render.h"

#include <cmath>
#include <cstring>
#include <new>

namespace laclip::images {
namespace {

// The largest side of an image, and of a view: twice that of a JPEG, and far from any overflow.
constexpr int largestSide = 1 << 24;

class Numbers {
 public:
  Numbers(const double* numbers, size_t count) : at_(numbers), end_(numbers + count) {}

  double any() { return at_ < end_ ? *at_++ : fail(); }

  int whole(int least, int most) {
    const double value = any();
    if (!(value >= least && value <= most) || value != std::floor(value)) return static_cast<int>(fail());
    return static_cast<int>(value);
  }

  bool good() const { return good_; }
  bool atEnd() const { return at_ == end_; }

 private:
  double fail() {
    good_ = false;
    return 0;
  }

  const double* at_;
  const double* end_;
  bool good_ = true;
};

Outcome viewPixels(const RenderPlan& plan, const uint8_t* source, size_t size, const std::vector<uint8_t*>& targets) {
  const size_t rowBytes = static_cast<size_t>(plan.width) * 3;
  if (size < rowBytes * plan.height) return Outcome::otherHeader;
  std::vector<uint8_t> padded;
  for (size_t i = 0; i < plan.views.size(); i++) {
    View view(plan.views[i], 8, plan.width, plan.height);
    for (int y = view.top(); y < view.bottom(); y++) {
      const uint8_t* row = source + y * rowBytes;
      if ((y + 1) * rowBytes + rowPadding > size) {
        padded.resize(rowBytes + rowPadding);
        std::memcpy(padded.data(), row, rowBytes);
        row = padded.data();
      }
      view.takeRow<3>(y, row, 0, targets[i]);
    }
    view.finish(targets[i]);
  }
  return Outcome::done;
}

}  // namespace

size_t RenderPlan::bytes() const {
  size_t sum = 0;
  for (const ViewPlan& view : views) sum += view.bytes();
  return sum;
}

std::optional<RenderPlan> readPlan(const double* numbers, size_t count) {
  Numbers in(numbers, count);
  RenderPlan plan;
  plan.source = static_cast<RenderPlan::Source>(in.whole(0, 1));
  plan.width = in.whole(1, largestSide);
  plan.height = in.whole(1, largestSide);
  plan.leastShrink = in.any();
  if (!in.good() || !(plan.leastShrink >= 1)) return std::nullopt;
  const int views = in.whole(1, 1024);
  for (int i = 0; i < views && in.good(); i++) {
    ViewPlan view;
    view.boxX = in.whole(0, plan.width - 1);
    view.boxY = in.whole(0, plan.height - 1);
    view.boxWidth = in.whole(1, plan.width - view.boxX);
    view.boxHeight = in.whole(1, plan.height - view.boxY);
    view.width = in.whole(1, largestSide);
    view.height = in.whole(1, largestSide);
    if (!in.good()) return std::nullopt;
    view.windowX = in.whole(0, view.width - 1);
    view.windowY = in.whole(0, view.height - 1);
    view.windowWidth = in.whole(1, view.width - view.windowX);
    view.windowHeight = in.whole(1, view.height - view.windowY);
    view.kernel = static_cast<Kernel>(in.whole(0, 1));
    view.mirrored = in.whole(0, 1) == 1;
    view.verbatim = in.whole(0, 1) == 1;
    const int changes = in.whole(0, 16);
    for (int k = 0; k < changes && in.good(); k++) {
      const auto kind = static_cast<Change::Kind>(in.whole(0, 5));
      const double amount = in.any();
      const double most = kind == Change::hue ? 1 : 1000;
      if (!(std::fabs(amount) <= most)) return std::nullopt;
      view.changes.push_back({kind, amount});
    }
    if (!in.good()) return std::nullopt;
    if (view.verbatim && (view.windowWidth != view.boxWidth || view.windowHeight != view.boxHeight)) return std::nullopt;
    plan.views.push_back(std::move(view));
  }
  if (!in.good() || !in.atEnd()) return std::nullopt;
  return plan;
}

Outcome render(const RenderPlan& plan, const uint8_t* source, size_t size, uint8_t* target) noexcept {
  try {
    std::vector<uint8_t*> targets;
    for (const ViewPlan& view : plan.views) {
      targets.push_back(target);
      target += view.bytes();
    }
    return plan.source == RenderPlan::jpeg ? viewJpeg(source, size, plan.width, plan.height, plan.leastShrink, plan.views, targets)
                                           : viewPixels(plan, source, size, targets);
  } catch (const std::bad_alloc&) {
    return Outcome::outOfMemory;
  } catch (const std::exception&) {
    return Outcome::damaged;
  }
}

}  // namespace laclip::images
