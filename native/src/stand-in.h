#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace laclip {

class Graph;

// How often a GPU in the place of the stand-in would have kept the program waiting, up to now.
int64_t stand_in_waits();

std::unique_ptr<Graph> stand_in_graph();

// What computes the results of an operator, from arguments that the processor sees.
using Compute = std::function<void(const c10::OperatorHandle& op, torch::jit::Stack* stack)>;

// An operator of the stand-in: shows its arguments to the processor, computes, and brings the results back; recorded, where a graph is.
void through(const c10::OperatorHandle& op, torch::jit::Stack* stack, const Compute& compute);

// To be told of what was done in the stand-in's memory by another way than its operators: it is part of the graph that is recorded, if any.
// `work` does it again, and keeps that memory.
void done_on_stand_in(std::function<void()> work);

void add_packed_kernels(torch::Library& own);

}  // namespace laclip
