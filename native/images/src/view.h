// One picture that is to come out of an image: which part of it, at what size, and what is done to its colours.
#pragma once

#include <cstdint>
#include <vector>

#include "resample.h"

namespace laclip::images {

// What is done to the finished pixels, in this order. `amount` is a factor, a shift of hue in turns, or a radius in pixels.
struct Change {
  enum Kind { brightness = 0, contrast = 1, saturation = 2, hue = 3, grayscale = 4, blur = 5 };
  Kind kind;
  double amount;
};

// `box` is in pixels of the whole image; it becomes `width` x `height` pixels, of which only the window is made.
struct ViewPlan {
  int boxX, boxY, boxWidth, boxHeight;
  int width, height;
  int windowX, windowY, windowWidth, windowHeight;
  Kernel kernel;
  bool mirrored;
  // True where pixels are wanted as they are: box, size and window are then the same.
  bool verbatim;
  std::vector<Change> changes;

  size_t bytes() const { return static_cast<size_t>(windowWidth) * windowHeight * 3; }
};

// Makes one view from rows that are handed in from top to bottom, of an image that was decoded at numerator / 8 of its size.
class View {
 public:
  // `decodedWidth`, `decodedHeight`: size of the image at that scale.
  View(const ViewPlan& plan, int numerator, int decodedWidth, int decodedHeight);

  // The part of the decoded image that is looked at: columns [left, right), rows [top, bottom).
  int left() const { return left_; }
  int right() const { return right_; }
  int top() const { return top_; }
  int bottom() const { return bottom_; }

  // Row `y` of the decoded image; `pixels` points to its column `column`, which is not after left(). Never throws.
  template <int Channels>
  void takeRow(int y, const uint8_t* pixels, int column, uint8_t* target);

  // After the last row: the window's pixels, RGB in rows.
  void finish(uint8_t* target);

 private:
  const ViewPlan& plan_;
  Weights across_;
  Weights down_;
  int left_, right_, top_, bottom_;
  std::vector<uint8_t> between_;
};

// Applies the changes to RGB pixels in place.
void change(uint8_t* pixels, int width, int height, const std::vector<Change>& changes);

}  // namespace laclip::images
