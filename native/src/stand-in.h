#pragma once

#include <cstdint>
#include <memory>

namespace laclip {

class Graph;

// How often a GPU in the place of the stand-in would have kept the program waiting, up to now.
int64_t stand_in_waits();

std::unique_ptr<Graph> stand_in_graph();

}  // namespace laclip
