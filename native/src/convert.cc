#include "convert.h"

#include <cmath>
#include <sstream>

namespace laclip {

namespace {

napi_valuetype type_of(napi_env env, napi_value value) {
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  return type;
}

bool is_array(napi_env env, napi_value value) {
  bool result = false;
  check(env, napi_is_array(env, value, &result));
  return result;
}

template <typename Visit>
void each(napi_env env, napi_value array, Visit visit) {
  uint32_t length;
  check(env, napi_get_array_length(env, array, &length));
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    check(env, napi_get_element(env, array, i, &element));
    visit(element, i);
  }
}

std::string print(double number) {
  std::ostringstream text;
  text << number;
  return text.str();
}

// Whether a number is an integer that 64 bits hold; not-a-number and the infinities are not.
bool is_whole(double number) { return number >= -9223372036854775808.0 && number < 9223372036854775808.0 && std::floor(number) == number; }

// What came, for messages.
std::string describe(napi_env env, napi_value value) {
  switch (type_of(env, value)) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return "a boolean";
    case napi_number: return "the number " + print(to_double(env, value));
    case napi_string: return "the string \"" + to_string(env, value) + "\"";
    case napi_bigint: return "a bigint";
    case napi_function: return "a function";
    case napi_symbol: return "a symbol";
    default: return is_array(env, value) ? "an array" : "an object";
  }
}

[[noreturn]] void mismatch(Call& call, const ArgumentPlan& plan, napi_value value) {
  throw std::runtime_error("argument '" + plan.name + "': expected " + plan.type + ", got " + describe(call.env, value));
}

struct DtypeName {
  const char* name;
  c10::ScalarType type;
};
constexpr DtypeName kDtypes[] = {
    {"float32", c10::kFloat}, {"bfloat16", c10::kBFloat16}, {"float16", c10::kHalf}, {"float64", c10::kDouble}, {"int64", c10::kLong},
    {"int32", c10::kInt},     {"int16", c10::kShort},       {"int8", c10::kChar},    {"uint8", c10::kByte},     {"bool", c10::kBool},
};

// Enumerations travel as integers in schemas; JavaScript names them.
int64_t parse_enumeration(const std::string& name) {
  if (name == "strided") return static_cast<int64_t>(c10::Layout::Strided);
  if (name == "contiguous_format") return static_cast<int64_t>(c10::MemoryFormat::Contiguous);
  if (name == "preserve_format") return static_cast<int64_t>(c10::MemoryFormat::Preserve);
  if (name == "channels_last") return static_cast<int64_t>(c10::MemoryFormat::ChannelsLast);
  return static_cast<int64_t>(parse_dtype(name));
}

c10::Scalar to_scalar(Call& call, const ArgumentPlan& plan, napi_value value) {
  switch (type_of(call.env, value)) {
    case napi_boolean: return c10::Scalar(to_bool(call.env, value));
    case napi_bigint: return c10::Scalar(to_int(call.env, value));
    case napi_number: {
      const double number = to_double(call.env, value);
      // JavaScript has one kind of number: a whole one is passed as an integer, so that integer tensors stay integer.
      if (std::floor(number) == number && std::abs(number) < 9007199254740992.0) return c10::Scalar(static_cast<int64_t>(number));
      return c10::Scalar(number);
    }
    default: mismatch(call, plan, value);
  }
}

int64_t to_whole(Call& call, const ArgumentPlan& plan, napi_value value) {
  const napi_valuetype type = type_of(call.env, value);
  if (type == napi_bigint) return to_int(call.env, value);
  if (type != napi_number) mismatch(call, plan, value);
  const double number = to_double(call.env, value);
  if (!is_whole(number)) mismatch(call, plan, value);
  return static_cast<int64_t>(number);
}

double to_float(Call& call, const ArgumentPlan& plan, napi_value value) {
  if (type_of(call.env, value) != napi_number) mismatch(call, plan, value);
  return to_double(call.env, value);
}

bool to_boolean(Call& call, const ArgumentPlan& plan, napi_value value) {
  if (type_of(call.env, value) != napi_boolean) mismatch(call, plan, value);
  return to_bool(call.env, value);
}

// Reads a name and says in errors which argument it was for.
template <typename Parse>
auto named(Call& call, const ArgumentPlan& plan, napi_value value, Parse parse) {
  if (type_of(call.env, value) != napi_string) mismatch(call, plan, value);
  try {
    return parse(to_string(call.env, value));
  } catch (const c10::Error& error) {
    throw std::runtime_error("argument '" + plan.name + "': " + error.what_without_backtrace());
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("argument '" + plan.name + "': " + error.what());
  }
}

at::Tensor to_tensor(Call& call, const ArgumentPlan& plan, napi_value value) {
  double handle;
  if (napi_get_value_double(call.env, value, &handle) != napi_ok) mismatch(call, plan, value);
  try {
    return call.environment().at(handle);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("argument '" + plan.name + "': expected " + plan.type + ", but " + error.what());
  }
}

template <typename Element, typename Read>
c10::List<Element> to_list(Call& call, const ArgumentPlan& plan, napi_value value, Read read) {
  c10::List<Element> list;
  if (!is_array(call.env, value)) {
    if (plan.fixed_length < 0) mismatch(call, plan, value);
    const Element element = read(value);
    for (int64_t i = 0; i < plan.fixed_length; i++) list.push_back(element);
    return list;
  }
  each(call.env, value, [&](napi_value element, uint32_t) { list.push_back(read(element)); });
  return list;
}

// Turns "this is something else" into a message that says what came.
template <typename Value>
Value read(napi_env env, napi_value value, napi_status (*getter)(napi_env, napi_value, Value*), napi_status otherwise, const char* expected) {
  Value result;
  const napi_status status = getter(env, value, &result);
  if (status == otherwise) throw std::runtime_error(std::string("expected ") + expected + ", got " + describe(env, value));
  check(env, status);
  return result;
}

}  // namespace

double to_double(napi_env env, napi_value value) { return read(env, value, napi_get_value_double, napi_number_expected, "a number"); }

int64_t to_int(napi_env env, napi_value value) {
  if (type_of(env, value) == napi_bigint) {
    int64_t result;
    bool lossless;
    check(env, napi_get_value_bigint_int64(env, value, &result, &lossless));
    if (!lossless) throw std::runtime_error("a bigint does not fit 64 bits");
    return result;
  }
  const double number = to_double(env, value);
  if (!is_whole(number)) throw std::runtime_error("expected a whole number, got " + print(number));
  return static_cast<int64_t>(number);
}

bool to_bool(napi_env env, napi_value value) { return read(env, value, napi_get_value_bool, napi_boolean_expected, "a boolean"); }

std::string to_string(napi_env env, napi_value value) {
  size_t length;
  const napi_status status = napi_get_value_string_utf8(env, value, nullptr, 0, &length);
  if (status == napi_string_expected) throw std::runtime_error("expected a string, got " + describe(env, value));
  check(env, status);
  std::string result(length, '\0');
  check(env, napi_get_value_string_utf8(env, value, &result[0], length + 1, &length));
  return result;
}

std::vector<int64_t> to_int_list(napi_env env, napi_value value) {
  if (!is_array(env, value)) throw std::runtime_error("expected an array of numbers, got " + describe(env, value));
  std::vector<int64_t> result;
  each(env, value, [&](napi_value element, uint32_t) { result.push_back(to_int(env, element)); });
  return result;
}

std::vector<double> to_double_list(napi_env env, napi_value value) {
  if (!is_array(env, value)) throw std::runtime_error("expected an array of numbers, got " + describe(env, value));
  std::vector<double> result;
  each(env, value, [&](napi_value element, uint32_t) { result.push_back(to_double(env, element)); });
  return result;
}

napi_value from_double(napi_env env, double value) {
  napi_value result;
  check(env, napi_create_double(env, value, &result));
  return result;
}

napi_value from_bool(napi_env env, bool value) {
  napi_value result;
  check(env, napi_get_boolean(env, value, &result));
  return result;
}

napi_value from_string(napi_env env, const std::string& value) {
  napi_value result;
  check(env, napi_create_string_utf8(env, value.data(), value.size(), &result));
  return result;
}

napi_value from_ints(napi_env env, c10::IntArrayRef values) {
  napi_value result;
  check(env, napi_create_array_with_length(env, values.size(), &result));
  for (size_t i = 0; i < values.size(); i++) check(env, napi_set_element(env, result, i, from_double(env, static_cast<double>(values[i]))));
  return result;
}

napi_value undefined(napi_env env) {
  napi_value result;
  check(env, napi_get_undefined(env, &result));
  return result;
}

c10::ScalarType parse_dtype(const std::string& name) {
  for (const DtypeName& entry : kDtypes) {
    if (name == entry.name) return entry.type;
  }
  throw std::runtime_error("unknown dtype or format \"" + name + "\"");
}

const char* dtype_name(c10::ScalarType type) {
  for (const DtypeName& entry : kDtypes) {
    if (type == entry.type) return entry.name;
  }
  return c10::toString(type);
}

c10::IValue to_argument(Call& call, const ArgumentPlan& plan, napi_value value) {
  const napi_env env = call.env;
  const napi_valuetype type = type_of(env, value);
  // Most arguments are tensors, which come as numbers.
  if (type == napi_number && plan.kind == ArgumentKind::Tensor) return to_tensor(call, plan, value);
  if (type == napi_undefined) {
    if (plan.has_default) return plan.default_value;
    if (plan.optional) return c10::IValue();
    throw std::runtime_error("argument '" + plan.name + "' (" + plan.type + ") is missing");
  }
  if (type == napi_null) {
    if (plan.optional) return c10::IValue();
    mismatch(call, plan, value);
  }
  switch (plan.kind) {
    case ArgumentKind::Tensor: return to_tensor(call, plan, value);
    case ArgumentKind::Scalar: return to_scalar(call, plan, value);
    case ArgumentKind::Int: return to_whole(call, plan, value);
    case ArgumentKind::Enumeration: return named(call, plan, value, parse_enumeration);
    case ArgumentKind::Float: return to_float(call, plan, value);
    case ArgumentKind::Bool: return to_boolean(call, plan, value);
    case ArgumentKind::String:
      if (type != napi_string) mismatch(call, plan, value);
      return to_string(env, value);
    case ArgumentKind::Device: return named(call, plan, value, [](const std::string& name) { return c10::Device(name); });
    case ArgumentKind::TensorList:
      return to_list<at::Tensor>(call, plan, value, [&](napi_value element) { return to_tensor(call, plan, element); });
    case ArgumentKind::IntList:
      return to_list<int64_t>(call, plan, value, [&](napi_value element) { return to_whole(call, plan, element); });
    case ArgumentKind::FloatList:
      return to_list<double>(call, plan, value, [&](napi_value element) { return to_float(call, plan, element); });
    case ArgumentKind::BoolList:
      return to_list<bool>(call, plan, value, [&](napi_value element) { return to_boolean(call, plan, element); });
    case ArgumentKind::ScalarList: {
      c10::impl::GenericList list(c10::NumberType::get());
      if (!is_array(env, value)) mismatch(call, plan, value);
      each(env, value, [&](napi_value element, uint32_t) { list.push_back(to_scalar(call, plan, element)); });
      return list;
    }
    case ArgumentKind::OptionalTensorList: {
      c10::List<c10::optional<at::Tensor>> list;
      if (!is_array(env, value)) mismatch(call, plan, value);
      each(env, value, [&](napi_value element, uint32_t) {
        const napi_valuetype element_type = type_of(env, element);
        if (element_type == napi_null || element_type == napi_undefined) {
          list.push_back(c10::optional<at::Tensor>());
        } else {
          list.push_back(c10::optional<at::Tensor>(to_tensor(call, plan, element)));
        }
      });
      return list;
    }
    case ArgumentKind::Unsupported: break;
  }
  throw std::runtime_error("argument '" + plan.name + "': values of type " + plan.type + " can't be passed from JavaScript; leave it out");
}

napi_value from_result(Call& call, c10::IValue&& value) {
  const napi_env env = call.env;
  // An operator may leave out a result; a slot without a tensor would count as disposed.
  const auto adopt = [&](at::Tensor&& tensor) {
    return tensor.defined() ? from_double(env, call.environment().adopt(std::move(tensor))) : undefined(env);
  };
  if (value.isTensor()) return adopt(std::move(value).toTensor());
  if (value.isNone()) return undefined(env);
  if (value.isInt()) return from_double(env, static_cast<double>(value.toInt()));
  if (value.isDouble()) return from_double(env, value.toDouble());
  if (value.isBool()) return from_bool(env, value.toBool());
  if (value.isString()) return from_string(env, value.toStringRef());
  if (value.isTensorList()) {
    std::vector<at::Tensor> tensors = std::move(value).toTensorVector();
    napi_value result;
    check(env, napi_create_array_with_length(env, tensors.size(), &result));
    for (size_t i = 0; i < tensors.size(); i++) {
      check(env, napi_set_element(env, result, i, adopt(std::move(tensors[i]))));
    }
    return result;
  }
  if (value.isIntList()) return from_ints(env, value.toIntVector());
  if (value.isScalar()) return from_double(env, value.toScalar().toDouble());
  throw std::runtime_error("a result of type " + value.type()->str() + " can't be passed to JavaScript");
}

}  // namespace laclip
