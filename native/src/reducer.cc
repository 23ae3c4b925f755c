// The mean of gradients over ranks, reduced while the backward pass still computes.
//
// Parameters lie in buckets, in reverse order: those that the backward pass reaches first come first. A hook on each parameter copies its
// finished gradient into the bucket, already divided by the number of ranks; a full bucket is sent on its way, and its parameters'
// gradients become views of it, so that nothing is copied back. Every byte is reduced once. After Li et al. 2020, "PyTorch Distributed".
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <mutex>
#include <unordered_map>

#include "convert.h"
#include "distributed.h"

namespace laclip {

namespace {

// A shared pointer whose kind depends on the version.
using Accumulator = decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>()));

struct Bucket {
  at::Tensor flat;
  size_t first;  // numbers of its parameters, in the order of the buckets
  size_t end;
  size_t missing = 0;
  c10::intrusive_ptr<c10d::Work> work = {};
};

class Reducer {
 public:
  // `parameters` in the order of the model.
  Reducer(std::shared_ptr<Group> group, std::vector<at::Tensor> parameters, int64_t bucket_bytes)
      : group_(std::move(group)), parameters_(parameters.rbegin(), parameters.rend()), offsets_(parameters_.size()), done_(parameters_.size()) {
    size_t first = 0;
    int64_t elements = 0;
    for (size_t i = 0; i < parameters_.size(); i++) {
      const at::Tensor& parameter = parameters_[i];
      if (parameter.scalar_type() != c10::kFloat) throw std::runtime_error("reduce gradients: expected float32 parameters");
      if (parameter.device() != parameters_[0].device()) throw std::runtime_error("reduce gradients: parameters lie on several devices");
      offsets_[i] = elements;
      elements += parameter.numel();
      bucket_of_.push_back(buckets_.size());
      if (elements * 4 >= bucket_bytes || i + 1 == parameters_.size()) {
        buckets_.push_back({at::empty({elements}, parameter.options().requires_grad(false)), first, i + 1});
        first = i + 1;
        elements = 0;
      }
    }
  }

  // Hooks refer to the reducer weakly: a graph of before may outlive it.
  static void attach(const std::shared_ptr<Reducer>& reducer);

  // The backward passes until `finish` are the last ones of this step; each parameter is reached by at most one of them.
  void arm() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::fill(done_.begin(), done_.end(), false);
    for (Bucket& bucket : buckets_) {
      bucket.missing = bucket.end - bucket.first;
      bucket.work.reset();
    }
    next_ = 0;
    twice_ = false;
    armed_ = true;
  }

  // Called when the gradient of a parameter is complete, by a thread of autograd.
  void ready(size_t i) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!armed_) return;
    if (done_[i]) {
      // It is on its way to the other ranks without this.
      twice_ = true;
      return;
    }
    take(i);
    send_full();
  }

  // Sends what the backward pass did not reach, waits for all; returns the number of bytes that were reduced.
  double finish() {
    at::NoGradGuard no_grad;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!armed_) throw std::runtime_error("reduce gradients: arm the reducer before the backward pass");
    armed_ = false;
    if (twice_) throw std::runtime_error("reduce gradients: two backward passes reached the same parameter");
    double bytes = 0;
    for (size_t i = 0; i < parameters_.size(); i++) {
      if (!done_[i]) take(i);
    }
    send_full();
    for (Bucket& bucket : buckets_) {
      group_->wait(bucket.work, "reduce gradients");
      bucket.work.reset();
      bytes += static_cast<double>(bucket.flat.nbytes());
    }
    return bytes;
  }

 private:
  void take(size_t i) {
    at::NoGradGuard no_grad;
    at::Tensor& parameter = parameters_[i];
    Bucket& bucket = buckets_[bucket_of_[i]];
    at::Tensor place = bucket.flat.narrow(0, offsets_[i], parameter.numel()).view(parameter.sizes());
    const at::Tensor gradient = parameter.grad();
    // All ranks run the same graph, so a parameter without a gradient here has none anywhere, and stays without.
    if (gradient.defined()) {
      // A number of the host beside a gradient of a device goes with the call; on the device, it would be one more kernel.
      at::mul_out(place, gradient, at::scalar_tensor(1.0 / group_->ranks, gradient.options().device(c10::kCPU)));
      parameter.mutable_grad() = place;
    } else {
      place.zero_();
    }
    done_[i] = true;
    bucket.missing--;
  }

  // In the order of the buckets, which is the same on every rank.
  void send_full() {
    while (next_ < buckets_.size() && buckets_[next_].missing == 0) {
      buckets_[next_].work = group_->start_sum(buckets_[next_].flat);
      next_++;
    }
  }

  std::mutex mutex_;
  const std::shared_ptr<Group> group_;
  std::vector<at::Tensor> parameters_;
  std::vector<int64_t> offsets_;
  std::vector<bool> done_;
  std::vector<size_t> bucket_of_;
  std::vector<Bucket> buckets_;
  std::vector<Accumulator> accumulators_;  // their hooks live as long as they do
  size_t next_ = 0;
  bool armed_ = false;
  bool twice_ = false;
};

struct Hook : torch::autograd::FunctionPostHook {
  Hook(std::weak_ptr<Reducer> reducer, size_t parameter) : reducer(std::move(reducer)), parameter(parameter) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) override {
    if (const auto alive = reducer.lock()) alive->ready(parameter);
    return outputs;
  }
  std::weak_ptr<Reducer> reducer;
  size_t parameter;
};

void Reducer::attach(const std::shared_ptr<Reducer>& reducer) {
  for (size_t i = 0; i < reducer->parameters_.size(); i++) {
    auto accumulator = torch::autograd::impl::grad_accumulator(reducer->parameters_[i]);
    if (accumulator == nullptr) throw std::runtime_error("reduce gradients: expected parameters that require gradients");
    accumulator->add_post_hook(std::make_unique<Hook>(reducer, i));
    reducer->accumulators_.push_back(std::move(accumulator));
  }
}

struct Reducers {
  std::mutex mutex;
  double next = 1;
  std::unordered_map<double, std::shared_ptr<Reducer>> all;
};

Reducers& reducers() {
  static Reducers* const all = new Reducers;
  return *all;
}

std::shared_ptr<Reducer> reducer_at(Call& call) {
  const std::lock_guard<std::mutex> lock(reducers().mutex);
  const auto found = reducers().all.find(to_double(call.env, call[0]));
  if (found == reducers().all.end()) throw std::runtime_error("this reducer was closed");
  return found->second;
}

}  // namespace

// (group, handles of parameters, bytes from which a bucket is full) -> number of the reducer
napi_value open_reducer(Call& call) {
  std::vector<at::Tensor> parameters;
  for (const double handle : to_double_list(call.env, call[1])) parameters.push_back(call.environment().at(handle));
  if (parameters.empty()) throw std::runtime_error("reduce gradients: there are no parameters");
  auto reducer = std::make_shared<Reducer>(group_at(call, call[0]), std::move(parameters), to_int(call.env, call[2]));
  Reducer::attach(reducer);
  const std::lock_guard<std::mutex> lock(reducers().mutex);
  const double number = reducers().next++;
  reducers().all.emplace(number, std::move(reducer));
  return from_double(call.env, number);
}

napi_value arm_reducer(Call& call) {
  reducer_at(call)->arm();
  return undefined(call.env);
}

// -> bytes reduced
napi_value finish_reducer(Call& call) { return from_double(call.env, reducer_at(call)->finish()); }

napi_value close_reducer(Call& call) {
  const std::lock_guard<std::mutex> lock(reducers().mutex);
  reducers().all.erase(to_double(call.env, call[0]));
  return undefined(call.env);
}

}  // namespace laclip
