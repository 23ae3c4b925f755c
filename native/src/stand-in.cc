// A device that stands in for a GPU where there is none: it computes as the processor does, in memory of its own kind, and refuses what a
// GPU refuses, an operation on tensors of two devices. For tests: what runs on it takes its device from its inputs, and so runs on a GPU.
//
// It is libtorch's device type for private use. Memory is the processor's; every operator without a kernel of its own goes through one
// boxed fallback, which checks where the tensors are, shows their memory to the processor's kernel, and brings results back. Nothing of it
// is registered unless a test asks. Its memory ends where a test says, with the error that libtorch has for that.
#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/NativeFunctions.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/version.h>

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
#include <ATen/detail/PrivateUse1HooksInterface.h>
#define LACLIP_STAND_IN_HOOKS
#endif

#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "convert.h"
#include "device.h"
#include "graph.h"
#include "stand-in-memory.h"
#include "stand-in.h"

namespace laclip {

namespace {

bool on_it(const at::Tensor& tensor) { return tensor.device().type() == kStandIn.type(); }

// Where a GPU would have kept the program waiting for it.
std::atomic<int64_t> waits{0};

// While a graph is recorded: what was done since it began, to be done again. Backward passes add to it from a thread of autograd's, while
// the one that asked for them waits.
struct Recording {
  std::vector<std::function<void()>> work;
  // What that has made; on a GPU there would be nothing in it yet.
  std::vector<at::Tensor> made;
};
std::atomic<Recording*> recording{nullptr};

// To be called wherever a GPU keeps the program waiting.
void wait_here(const std::string& op) {
  if (recording.load() != nullptr) throw std::runtime_error(op + ": operation not permitted when stream is capturing");
  finish_stream();
  waits++;
}

// Takes note of what a recording makes.
at::Tensor noted(at::Tensor made) {
  if (Recording* const now = recording.load(); now != nullptr) now->made.push_back(made);
  return made;
}

at::Tensor make_empty(c10::IntArrayRef sizes, c10::optional<c10::ScalarType> dtype, c10::optional<c10::Layout>, c10::optional<c10::Device>,
                      c10::optional<bool>, c10::optional<c10::MemoryFormat> format) {
  return noted(at::detail::empty_generic(sizes, &stand_in_allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                         dtype.value_or(c10::kFloat), format));
}

at::Tensor make_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, c10::optional<c10::ScalarType> dtype, c10::optional<c10::Layout>,
                        c10::optional<c10::Device>, c10::optional<bool>) {
  return noted(at::detail::empty_strided_generic(sizes, strides, &stand_in_allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                                 dtype.value_or(c10::kFloat)));
}

#ifdef LACLIP_STAND_IN_HOOKS
// What newer libtorches ask of a kind of device. Which of these are virtual differs between versions.
struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const { return true; }
  bool isAvailable() const { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const { return true; }
  c10::DeviceIndex deviceCount() const { return 1; }
  c10::DeviceIndex getCurrentDevice() const { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const {}
  // It draws by the processor's kernels, and so from the processor's numbers.
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const { return at::globalContext().defaultGenerator(c10::kCPU); }
};
#endif

// The same memory as a tensor of the processor, for work of this thread's stream.
at::Tensor shown(const at::Tensor& tensor) {
  if (!on_it(tensor)) return tensor;
  use_on_stream(tensor);
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), at::TensorOptions().dtype(tensor.scalar_type()));
}

at::Tensor brought(const at::Tensor& tensor) {
  at::Tensor there = make_strided(tensor.sizes(), tensor.strides(), tensor.scalar_type(), c10::nullopt, c10::nullopt, c10::nullopt);
  shown(there).copy_(tensor);
  return there;
}

at::Tensor& copy_between(at::Tensor& to, const at::Tensor& from, bool aside) {
  Recording* const now = recording.load();
  const at::Tensor there = shown(to), here = shown(from);
  // A graph must not read what the host may have changed by the time.
  if (!on_it(to) || (!on_it(from) && (!aside || now != nullptr))) wait_here("copy_");
  there.copy_(here);
  if (now != nullptr) now->work.emplace_back([to, from] { shown(to).copy_(shown(from)); });
  return to;
}

c10::Scalar read_one(const at::Tensor& tensor) {
  const at::Tensor here = shown(tensor);
  wait_here("_local_scalar_dense");
  return here.item();
}

void tell_of_stream(at::Tensor& tensor, c10::Stream stream) { stand_in_guard().recordDataPtrOnStream(tensor.storage().data_ptr(), stream); }

const at::Tensor& resize_here(const at::Tensor& tensor, c10::IntArrayRef sizes, c10::optional<c10::MemoryFormat>) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  const size_t needed = static_cast<size_t>(count + tensor.storage_offset()) * tensor.element_size();
  if (storage->nbytes() < needed) {
    c10::DataPtr larger = stand_in_allocator().allocate(needed);
    if (storage->nbytes() > 0) std::memcpy(larger.get(), tensor.storage().data(), storage->nbytes());
    storage->set_data_ptr(std::move(larger));
    storage->set_nbytes(needed);
  }
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return tensor;
}

// Arguments of one call as the processor sees them, and what they were.
class Shown {
 public:
  explicit Shown(const std::string& op) : op_(op) {}

  c10::IValue show(const c10::IValue& value) {
    if (value.isTensor()) return show_tensor(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(show_tensor(tensor));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<c10::optional<at::Tensor>> list;
      for (const c10::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        list.push_back(tensor.has_value() ? c10::optional<at::Tensor>(show_tensor(*tensor)) : c10::nullopt);
      }
      return list;
    }
    if (value.isDevice() && value.toDevice().type() == kStandIn.type()) return c10::Device(c10::kCPU);
    return value;
  }

  // Tensors that were empty and were filled.
  void settle() const {
    for (const at::Tensor& here : kept_) {
      const at::Tensor& original = originals_.at(here.unsafeGetTensorImpl());
      if (original.numel() != 0 || here.numel() == 0) continue;
      resize_here(original, here.sizes(), c10::nullopt);
      shown(original).copy_(here);
    }
  }

  c10::IValue bring(const c10::IValue& value) const {
    if (value.isTensor()) return bring_tensor(value.toTensor());
    if (!value.isTensorList()) return value;
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(bring_tensor(tensor));
    return list;
  }

  // Puts results where those of the same call lie already.
  void put(const c10::IValue& value, const c10::IValue& there) const {
    if (value.isTensor()) return put_tensor(value.toTensor(), there.toTensor());
    if (!value.isTensorList()) return;
    const std::vector<at::Tensor> results = value.toTensorVector(), places = there.toTensorVector();
    for (size_t i = 0; i < results.size(); i++) put_tensor(results[i], places[i]);
  }

 private:
  // Whether a result has memory of its own, and not that of an argument.
  bool is_new(const at::Tensor& result) const {
    if (!result.defined() || originals_.count(result.unsafeGetTensorImpl()) > 0) return false;
    for (const at::Tensor& here : kept_) {
      if (result.has_storage() && result.storage().is_alias_of(here.storage())) return false;
    }
    return true;
  }

  void put_tensor(const at::Tensor& result, const at::Tensor& there) const {
    if (is_new(result)) shown(there).copy_(result);
  }

  at::Tensor show_tensor(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (!on_it(tensor)) {
      // Single numbers may come from the processor, as on a GPU.
      if (tensor.dim() == 0) return tensor;
      throw std::runtime_error(op_ + ": tensors on two devices, " + kStandIn.str() + " and " + tensor.device().str());
    }
    // An empty one may be there to be filled, and has to be given memory then.
    const at::Tensor here = tensor.numel() == 0 ? at::empty(tensor.sizes(), tensor.scalar_type()) : shown(tensor);
    originals_.emplace(here.unsafeGetTensorImpl(), tensor);
    kept_.push_back(here);
    return here;
  }

  at::Tensor bring_tensor(const at::Tensor& tensor) const {
    if (!tensor.defined() || on_it(tensor)) return tensor;
    const auto same = originals_.find(tensor.unsafeGetTensorImpl());
    if (same != originals_.end()) return same->second;
    for (const at::Tensor& here : kept_) {
      if (!tensor.has_storage() || !tensor.storage().is_alias_of(here.storage())) continue;
      const at::Tensor& original = originals_.at(here.unsafeGetTensorImpl());
      return original.as_strided(tensor.sizes(), tensor.strides(), original.storage_offset() + tensor.storage_offset());
    }
    return brought(tensor);
  }

  const std::string op_;
  std::unordered_map<const c10::TensorImpl*, at::Tensor> originals_;
  std::vector<at::Tensor> kept_;
};

// Whether how large a result is, or what the program gets, depends on what is in the tensors: a GPU has to be waited for then.
bool depends_on_values(const c10::OperatorHandle& op, const std::vector<c10::IValue>& arguments) {
  static const std::unordered_set<std::string> shaped{
      "aten::nonzero", "aten::masked_select",     "aten::_unique",  "aten::_unique2",
      "aten::unique_dim", "aten::unique_consecutive", "aten::bincount", "aten::repeat_interleave"};
  const c10::FunctionSchema& schema = op.schema();
  if (shaped.count(schema.name()) > 0) return true;
  for (const c10::Argument& result : schema.returns()) {
    const c10::TypeKind kind = result.type()->kind();
    if (kind == c10::TypeKind::BoolType || kind == c10::TypeKind::NumberType || kind == c10::TypeKind::FloatType) return true;
  }
  if (schema.name() != "aten::index" && schema.name() != "aten::index_put_" && schema.name() != "aten::_index_put_impl_") return false;
  // A mask is looked up by the places where it is true.
  for (const c10::IValue& argument : arguments) {
    if (!argument.isOptionalTensorList()) continue;
    for (const c10::optional<at::Tensor>& index : argument.toOptionalTensorVector()) {
      if (index.has_value() && index->defined() && index->scalar_type() == c10::kBool) return true;
    }
  }
  return false;
}

}  // namespace

void through(const c10::OperatorHandle& op, torch::jit::Stack* stack, const Compute& compute) {
  const size_t count = op.schema().arguments().size();
  const std::vector<c10::IValue> given(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  Shown arguments(op.schema().name());
  for (size_t i = stack->size() - count; i < stack->size(); i++) (*stack)[i] = arguments.show((*stack)[i]);
  if (depends_on_values(op, given)) wait_here(op.schema().name());
  compute(op, stack);
  arguments.settle();
  const size_t first = stack->size() - op.schema().returns().size();
  for (size_t i = first; i < stack->size(); i++) (*stack)[i] = arguments.bring((*stack)[i]);
  Recording* const now = recording.load();
  if (now == nullptr) return;
  const std::vector<c10::IValue> results(stack->begin() + static_cast<std::ptrdiff_t>(first), stack->end());
  now->work.emplace_back([op, compute, given, results] {
    Shown again(op.schema().name());
    torch::jit::Stack values;
    for (const c10::IValue& value : given) values.push_back(again.show(value));
    compute(op, &values);
    again.settle();
    for (size_t i = 0; i < results.size(); i++) again.put(values[i], results[i]);
  });
}

void done_on_stand_in(std::function<void()> work) {
  if (Recording* const now = recording.load(); now != nullptr) now->work.push_back(std::move(work));
}

namespace {

void on_processor(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  through(op, stack, [](const c10::OperatorHandle& same, torch::jit::Stack* values) { same.callBoxed(values); });
}

class StandInGraph final : public Graph {
 public:
  ~StandInGraph() override { stop(); }

  void begin() override {
    Recording* expected = nullptr;
    if (!recording.compare_exchange_strong(expected, &recording_)) throw std::runtime_error("another graph is being recorded");
  }

  void end() override {
    stop();
    // What has only been recorded was not computed: whoever reads it before it is shall see that.
    for (const at::Tensor& tensor : recording_.made) {
      if (tensor.defined() && tensor.is_floating_point()) shown(tensor).fill_(std::numeric_limits<double>::quiet_NaN());
    }
    recording_.made.clear();
  }

  void replay() override {
    const at::AutoDispatchBelowAutograd below;
    for (const auto& again : recording_.work) again();
  }

 private:
  void stop() {
    Recording* expected = &recording_;
    recording.compare_exchange_strong(expected, nullptr);
  }

  Recording recording_;
};

void register_stand_in() {
  static bool done = false;
  if (done) return;
  done = true;
#ifdef LACLIP_STAND_IN_HOOKS
  // Newer backward passes ask which accelerator there is, and would look for another where this one has no name.
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  c10::register_privateuse1_backend("standin");
#endif
  c10::SetAllocator(kStandIn.type(), &stand_in_allocator());
  static const c10::impl::DeviceGuardImplRegistrar guard(kStandIn.type(), &stand_in_guard());
  static torch::Library own(torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  own.impl("empty.memory_format", TORCH_FN(make_empty));
  own.impl("empty_strided", TORCH_FN(make_strided));
  own.impl("copy_", TORCH_FN(copy_between));
  own.impl("_local_scalar_dense", TORCH_FN(read_one));
  own.impl("record_stream", TORCH_FN(tell_of_stream));
  own.impl("resize_", TORCH_FN(resize_here));
  own.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  own.impl("view", TORCH_FN(at::native::view));
  // libtorch would ask a kind of device that it does not know for a convolution of its own.
  own.impl("convolution", torch::CppFunction::makeFromBoxedFunction<&on_processor>());
  own.impl("convolution_backward", torch::CppFunction::makeFromBoxedFunction<&on_processor>());
  add_packed_kernels(own);
  static torch::Library others(torch::Library::IMPL, "_", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  others.fallback(torch::CppFunction::makeFromBoxedFunction<&on_processor>());
}

}  // namespace

int64_t stand_in_waits() { return waits; }

std::unique_ptr<Graph> stand_in_graph() { return std::make_unique<StandInGraph>(); }

// () -> the name of the device, which is there from now on. To be called before the first backward pass, for which autograd counts devices.
napi_value stand_in_device(Call& call) {
  // Registered, it would be the one accelerator that libtorch knows of, and backward passes on a GPU would fail.
  if (at::hasCUDA() && at::getNumGPUs() > 0) throw std::runtime_error("there is a GPU, for which nothing need stand in");
  register_stand_in();
  return from_string(call.env, kStandIn.str());
}

}  // namespace laclip
