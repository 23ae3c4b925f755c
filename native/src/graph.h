#pragma once

#include <c10/core/Device.h>

#include "guard.h"

namespace laclip {

// Work of a device that is recorded once and then done again by one call, on the same memory.
class Graph {
 public:
  virtual ~Graph() = default;
  // From here on, this thread's work on the device is recorded instead of done.
  virtual void begin() = 0;
  virtual void end() = 0;
  virtual void replay() = 0;
};

// Throws where a graph is being recorded: what comes from the host would stay as it is now in every replay.
void refuse_while_recording(const char* what);

napi_value open_graph(Call& call);
napi_value end_graph(Call& call);
napi_value replay_graph(Call& call);
napi_value close_graph(Call& call);

}  // namespace laclip
