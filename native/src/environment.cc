#include "environment.h"

#include <atomic>
#include <stdexcept>

namespace laclip {

namespace {

constexpr uint32_t kGenerations = 0x0fffffff;

// The golden ratio spreads the environments of a process evenly over the generations, however many there will be.
uint32_t next_first_generation() {
  static std::atomic<uint32_t> environments{0};
  return (environments.fetch_add(1) * 0x9e3779b1u) & kGenerations;
}

}  // namespace

Environment::Environment(napi_env env) : env_(env), first_generation_(next_first_generation()) {}

double Environment::adopt(at::Tensor tensor) {
  uint32_t index;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    if (slots_.size() >= kSlots) throw std::runtime_error("more than 16,777,216 tensors are alive; dispose of some or use scopes");
    index = static_cast<uint32_t>(slots_.size());
    slots_.push_back({at::Tensor(), first_generation_, 0});
  }
  Slot& slot = slots_[index];
  slot.tensor = std::move(tensor);
  slot.generation = (slot.generation + 1) & kGenerations;
  if (slot.generation == 0) slot.generation = 1;
  live_++;
  return static_cast<double>((uint64_t{slot.generation} << kSlotBits) | index);
}

Environment::Slot& Environment::slot_of(double handle, size_t* index_out) {
  // The comparison with 2^53 comes first: the conversion of anything greater, or of not-a-number, is undefined.
  const uint64_t whole = handle >= static_cast<double>(kSlots) && handle < 9007199254740992.0 ? static_cast<uint64_t>(handle) : 0;
  if (whole == 0 || static_cast<double>(whole) != handle) throw std::runtime_error("not a tensor handle");
  const size_t index = whole & (kSlots - 1);
  if (index >= slots_.size()) throw std::runtime_error("the tensor belongs to another worker");
  Slot& slot = slots_[index];
  if (slot.generation != whole >> kSlotBits || !slot.tensor.defined()) throw std::runtime_error("the tensor was disposed of, or belongs to another worker");
  if (index_out != nullptr) *index_out = index;
  return slot;
}

at::Tensor& Environment::at(double handle) { return slot_of(handle).tensor; }

void Environment::release(double handle) {
  size_t index;
  Slot& slot = slot_of(handle, &index);
  slot.tensor.reset();
  if (slot.accounted != 0) {
    int64_t total;
    napi_adjust_external_memory(env_, -slot.accounted, &total);
    accounted_bytes_ -= slot.accounted;
    slot.accounted = 0;
  }
  free_.push_back(static_cast<uint32_t>(index));
  live_--;
}

void Environment::account(double handle) {
  Slot& slot = slot_of(handle);
  if (slot.accounted != 0) return;
  slot.accounted = static_cast<int64_t>(slot.tensor.nbytes());
  accounted_bytes_ += slot.accounted;
  int64_t total;
  napi_adjust_external_memory(env_, slot.accounted, &total);
}

Operator& Environment::operator_at(double number) {
  const bool inside = number >= 0 && number < static_cast<double>(operators_.size());
  const size_t index = inside ? static_cast<size_t>(number) : 0;
  if (!inside || static_cast<double>(index) != number) throw std::runtime_error("not an operator number");
  return operators_[index];
}

namespace {

ArgumentKind list_kind(const c10::Type& element) {
  switch (element.kind()) {
    case c10::TypeKind::TensorType: return ArgumentKind::TensorList;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: return ArgumentKind::IntList;
    case c10::TypeKind::FloatType: return ArgumentKind::FloatList;
    case c10::TypeKind::BoolType: return ArgumentKind::BoolList;
    case c10::TypeKind::NumberType: return ArgumentKind::ScalarList;
    case c10::TypeKind::OptionalType:
      return element.containedType(0)->kind() == c10::TypeKind::TensorType ? ArgumentKind::OptionalTensorList : ArgumentKind::Unsupported;
    default: return ArgumentKind::Unsupported;
  }
}

ArgumentKind kind_of(const c10::Type& type) {
  switch (type.kind()) {
    case c10::TypeKind::TensorType: return ArgumentKind::Tensor;
    case c10::TypeKind::NumberType: return ArgumentKind::Scalar;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: return ArgumentKind::Int;
    case c10::TypeKind::ScalarTypeType:
    case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType: return ArgumentKind::Enumeration;
    case c10::TypeKind::FloatType: return ArgumentKind::Float;
    case c10::TypeKind::BoolType: return ArgumentKind::Bool;
    case c10::TypeKind::StringType: return ArgumentKind::String;
    case c10::TypeKind::DeviceObjType: return ArgumentKind::Device;
    case c10::TypeKind::ListType: return list_kind(*type.containedType(0));
    default: return ArgumentKind::Unsupported;
  }
}

ArgumentPlan plan(const c10::Argument& argument) {
  // The real type tells an element type from a plain integer, which the type proper does not.
  const c10::TypePtr declared = argument.real_type();
  const bool optional = declared->kind() == c10::TypeKind::OptionalType;
  const c10::TypePtr type = optional ? declared->containedType(0) : declared;
  ArgumentPlan result;
  result.kind = kind_of(*type);
  result.optional = optional;
  result.has_default = argument.default_value().has_value();
  result.fixed_length = argument.N().has_value() ? argument.N().value() : -1;
  if (result.has_default) result.default_value = argument.default_value().value();
  result.name = argument.name();
  result.type = declared->str();
  // Symbolic sizes are for tracing; to a caller they are integers.
  for (size_t at; (at = result.type.find("SymInt")) != std::string::npos;) result.type.replace(at, 6, "int");
  return result;
}

}  // namespace

uint32_t Environment::find_operator(const std::string& name, const std::string& overload) {
  const std::string full = overload.empty() ? name : name + "." + overload;
  const auto known = operator_numbers_.find(full);
  if (known != operator_numbers_.end()) return known->second;
  const auto found = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!found.has_value()) throw std::runtime_error("this libtorch has no operator " + full);
  const c10::FunctionSchema& schema = found->schema();
  Operator entry{found.value(), full, {}, false};
  for (const c10::Argument& argument : schema.arguments()) entry.arguments.push_back(plan(argument));
  if (schema.returns().size() == 1 && !schema.arguments().empty()) {
    const auto* out = schema.returns()[0].alias_info();
    const auto* self = schema.arguments()[0].alias_info();
    entry.returns_self = out != nullptr && self != nullptr && out->isWrite() && self->isWrite() && out->beforeSet() == self->beforeSet();
  }
  operators_.push_back(std::move(entry));
  const uint32_t number = static_cast<uint32_t>(operators_.size() - 1);
  operator_numbers_.emplace(full, number);
  return number;
}

}  // namespace laclip
