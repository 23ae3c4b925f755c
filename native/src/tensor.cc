// Tensors and bytes: in, out, and what a tensor says of itself.
#include "tensor.h"

#include <cstring>

#include "convert.h"
#include "device.h"
#include "graph.h"

namespace laclip {

namespace {

struct Bytes {
  void* data;
  size_t length;
};

// The memory of a typed array, DataView-free: what src/torch hands in is always a typed array.
Bytes bytes_of(napi_env env, napi_value value) {
  bool is_typed_array = false;
  check(env, napi_is_typedarray(env, value, &is_typed_array));
  if (!is_typed_array) throw std::runtime_error("expected a typed array");
  napi_typedarray_type type;
  size_t count;
  void* data;
  check(env, napi_get_typedarray_info(env, value, &type, &count, &data, nullptr, nullptr));
  size_t width = 1;
  switch (type) {
    case napi_int16_array:
    case napi_uint16_array: width = 2; break;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array: width = 4; break;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array: width = 8; break;
    default: break;
  }
  return {data, count * width};
}

}  // namespace

// (typed array, shape, dtype name, device, whether beside what the device computes) -> handle. Copies.
napi_value tensor_from_bytes(Call& call) {
  const Bytes source = bytes_of(call.env, call[0]);
  const std::vector<int64_t> shape = to_int_list(call.env, call[1]);
  const c10::ScalarType dtype = parse_dtype(to_string(call.env, call[2]));
  const c10::Device device(to_string(call.env, call[3]));
  for (const int64_t size : shape) {
    if (size < 0) throw std::runtime_error("a shape has no negative sizes");
  }
  // Before there is pinned memory: asking CUDA for that would end a recording.
  if (!device.is_cpu()) refuse_while_recording("a tensor from the host");
  // A GPU fetches from pinned memory by itself, and nobody waits for it.
  const at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(dtype).pinned_memory(device.is_cuda()));
  if (tensor.nbytes() != source.length) {
    throw std::runtime_error("a tensor of this shape and dtype has " + std::to_string(tensor.nbytes()) + " bytes, the array has " +
                             std::to_string(source.length));
  }
  if (source.length > 0) std::memcpy(tensor.data_ptr(), source.data, source.length);
  return from_double(call.env, call.environment().adopt(upload(tensor, device, to_bool(call.env, call[4]))));
}

// (handle) -> ArrayBuffer with a copy of the elements in row-major order
napi_value tensor_to_bytes(Call& call) {
  const at::Tensor& read = call.environment().at(to_double(call.env, call[0]));
  if (!read.device().is_cpu()) refuse_while_recording("reading a tensor");
  const at::Tensor tensor = read.detach().to(c10::kCPU).contiguous();
  void* data;
  napi_value buffer;
  check(call.env, napi_create_arraybuffer(call.env, tensor.nbytes(), &data, &buffer));
  if (tensor.nbytes() > 0) std::memcpy(data, tensor.data_ptr(), tensor.nbytes());
  return buffer;
}

// (handle, typed array): overwrites the tensor's elements
napi_value tensor_copy_bytes(Call& call) {
  at::Tensor& tensor = call.environment().at(to_double(call.env, call[0]));
  if (!tensor.device().is_cpu()) refuse_while_recording("overwriting a tensor from the host");
  const Bytes source = bytes_of(call.env, call[1]);
  if (tensor.nbytes() != source.length) {
    throw std::runtime_error("the tensor has " + std::to_string(tensor.nbytes()) + " bytes, the array has " + std::to_string(source.length));
  }
  const at::Tensor view = at::from_blob(source.data, tensor.sizes(), at::TensorOptions().dtype(tensor.scalar_type()));
  at::NoGradGuard no_grad;
  tensor.copy_(view);
  return undefined(call.env);
}

napi_value tensor_shape(Call& call) { return from_ints(call.env, call.environment().at(to_double(call.env, call[0])).sizes()); }

napi_value tensor_dtype(Call& call) {
  return from_string(call.env, dtype_name(call.environment().at(to_double(call.env, call[0])).scalar_type()));
}

napi_value tensor_device(Call& call) { return from_string(call.env, call.environment().at(to_double(call.env, call[0])).device().str()); }

// (handle of a one-element tensor) -> number or boolean
napi_value tensor_item(Call& call) {
  const at::Tensor& tensor = call.environment().at(to_double(call.env, call[0]));
  if (tensor.numel() != 1) throw std::runtime_error("item() wants a tensor of one element, this one has " + std::to_string(tensor.numel()));
  if (!tensor.device().is_cpu()) refuse_while_recording("reading a number");
  const c10::Scalar value = tensor.item();
  if (value.isBoolean()) return from_bool(call.env, value.toBool());
  return from_double(call.env, value.toDouble());
}

napi_value tensor_release(Call& call) {
  call.environment().release(to_double(call.env, call[0]));
  return undefined(call.env);
}

// (Float64Array of handles): what the end of a scope calls
napi_value tensor_release_many(Call& call) {
  const Bytes source = bytes_of(call.env, call[0]);
  const auto count = static_cast<size_t>(to_int(call.env, call[1]));
  if (count * sizeof(double) > source.length) throw std::runtime_error("internal: more handles than the array holds");
  const double* handles = static_cast<const double*>(source.data);
  for (size_t i = 0; i < count; i++) call.environment().release(handles[i]);
  return undefined(call.env);
}

napi_value tensor_account(Call& call) {
  call.environment().account(to_double(call.env, call[0]));
  return undefined(call.env);
}

// (handle, handle) -> whether both are the same tensor object of libtorch
napi_value tensor_is_same(Call& call) {
  return from_bool(call.env, call.environment().at(to_double(call.env, call[0])).is_same(call.environment().at(to_double(call.env, call[1]))));
}

}  // namespace laclip
