// Views of a JPEG, through libjpeg-turbo: only the rows and columns that they need, at the smallest scale that leaves enough pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "view.h"

namespace laclip::images {

// How a job ended. Whatever is not `done` leaves no pixels that may be used.
enum class Outcome {
  done = 0,
  // The file ends before the image does.
  cutShort = 1,
  // libjpeg gave up: damaged, or of a kind that is not decoded here.
  damaged = 2,
  // The image's size or channels are not those that the views were planned for.
  otherHeader = 3,
  outOfMemory = 4,
};

// Whether JPEGs can be decoded, and by what: "2.1.5", or null in an addon that was built without libjpeg-turbo.
const char* jpegLibrary();

// `leastShrink`: how many decoded pixels each output pixel must have along both sides at a scale below the full one; infinity for the
// full scale, whose pixels are those of a full decode. `targets[i]` has room for the bytes of view i.
Outcome viewJpeg(const uint8_t* bytes, size_t size, int width, int height, double leastShrink, const std::vector<ViewPlan>& plans,
                 const std::vector<uint8_t*>& targets);

}  // namespace laclip::images
