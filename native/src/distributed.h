// Processes that compute together: groups of ranks over c10d, and what they do with each other's tensors.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <torch/version.h>
#if TORCH_VERSION_MAJOR >= 2
#include <torch/csrc/distributed/c10d/Backend.hpp>
#endif

#include <memory>
#include <string>
#include <vector>

#include "guard.h"

namespace laclip {

#if TORCH_VERSION_MAJOR >= 2
using Communicator = c10d::Backend;
#else
using Communicator = c10d::ProcessGroup;
#endif

// Ranks that have met. Belongs to the process: every JavaScript thread could use it, though only one should, since all ranks must ask for
// the same operations in the same order.
struct Group {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<Communicator> communicator;
  int rank;
  int ranks;

  // Starts a sum over all ranks, in place. The tensor must be contiguous, and live until the work is done.
  c10::intrusive_ptr<c10d::Work> start_sum(at::Tensor& tensor) const;
  // Waits; an error names operation and rank.
  void wait(const c10::intrusive_ptr<c10d::Work>& work, const char* operation) const;
  // Throws what `wait` would throw of an error of c10d or of its back end.
  [[noreturn]] void fail(const char* operation, const std::string& reason) const;
  // The tensors of all ranks one behind the other: `[ranks x n, ...]` of `[n, ...]`.
  at::Tensor gather(const at::Tensor& own) const;
};

// The group of a number that JavaScript holds; throws when it was closed.
std::shared_ptr<Group> group_at(Call& call, napi_value number);

napi_value distributed_backends(Call& call);
napi_value open_group(Call& call);
napi_value close_group(Call& call);
napi_value group_start_sum(Call& call);
napi_value group_start_broadcast(Call& call);
napi_value work_wait(Call& call);
napi_value group_gather_with_gradient(Call& call);
napi_value fingerprint(Call& call);

napi_value open_reducer(Call& call);
napi_value arm_reducer(Call& call);
napi_value finish_reducer(Call& call);
napi_value close_reducer(Call& call);

}  // namespace laclip
