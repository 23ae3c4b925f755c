// The addon `laclip_images.node`: what src/images/native.ts calls.
//
//   render(plan, source, target, owned)   makes views on a thread of the pool; a promise of an outcome (src/jpeg.h)
//   renderNow(plan, source, target)       the same on the thread that calls
//   setThreads(count), threads()          of the pool, which all JavaScript threads of the process share; 0 until it is set
//   jpeg()                                version of libjpeg-turbo, or null
//
// Memory of JavaScript can be taken away while a job runs: an ArrayBuffer may be transferred to another thread. So a job reads a copy of
// its source, and its result is copied into the target when it is done, on the thread of both. Two kinds need no copies: shared memory,
// which is never taken away, and arrays that only the caller knows (`owned`: 1 the source, 2 the target, 3 both).
#include <cstring>
#include <memory>
#include <optional>

#include "pool.h"
#include "render.h"

namespace laclip::images {
namespace {

// Beyond the outcomes of src/jpeg.h: the array for the result was transferred elsewhere.
constexpr int targetGone = 5;

napi_value fail(napi_env env, const char* message) {
  napi_throw_error(env, "LACLIP_NATIVE", message);
  return nullptr;
}

struct Bytes {
  uint8_t* data = nullptr;
  size_t size = 0;
  bool shared = false;
};

bool readBytes(napi_env env, napi_value value, Bytes& bytes) {
  bool is = false;
  if (napi_is_typedarray(env, value, &is) != napi_ok || !is) return false;
  napi_typedarray_type type;
  void* data;
  napi_value buffer;
  if (napi_get_typedarray_info(env, value, &type, &bytes.size, &data, &buffer, nullptr) != napi_ok) return false;
  bytes.data = static_cast<uint8_t*>(data);
  bool plain = true;
  napi_is_arraybuffer(env, buffer, &plain);
  bytes.shared = !plain;
  return type == napi_uint8_array;
}

struct Request {
  RenderPlan plan;
  Bytes source;
  Bytes target;
};

// Nothing, with an exception pending, when an argument is not what it must be.
std::optional<Request> readRequest(napi_env env, const napi_value* values) {
  Request request;
  napi_typedarray_type type;
  size_t count;
  void* numbers;
  bool is = false;
  if (napi_is_typedarray(env, values[0], &is) != napi_ok || !is ||
      napi_get_typedarray_info(env, values[0], &type, &count, &numbers, nullptr, nullptr) != napi_ok || type != napi_float64_array) {
    fail(env, "a plan is a Float64Array");
    return std::nullopt;
  }
  auto plan = readPlan(static_cast<const double*>(numbers), count);
  if (!plan) {
    fail(env, "the plan asks for something outside of the image, or is no plan");
    return std::nullopt;
  }
  request.plan = std::move(*plan);
  if (!readBytes(env, values[1], request.source) || !readBytes(env, values[2], request.target)) {
    fail(env, "source and target are Uint8Arrays");
    return std::nullopt;
  }
  if (request.target.size < request.plan.bytes()) {
    fail(env, "the target has no room for the views");
    return std::nullopt;
  }
  return request;
}

class RenderJob : public Job {
 public:
  // False with an exception pending.
  bool prepare(napi_env env, Request request, uint32_t owned, napi_value source, napi_value target) {
    plan_ = std::move(request.plan);
    if ((owned & 1) != 0 || request.source.shared) {
      source_ = request.source.data;
      if (!hold(env, source)) return false;
    } else {
      copy_.reset(new uint8_t[request.source.size]);
      if (request.source.size > 0) std::memcpy(copy_.get(), request.source.data, request.source.size);
      source_ = copy_.get();
    }
    size_ = request.source.size;
    if (!hold(env, target)) return false;
    if ((owned & 2) != 0 || request.target.shared) {
      target_ = request.target.data;
    } else {
      result_.reset(new uint8_t[plan_.bytes()]);
      target_ = result_.get();
    }
    return true;
  }

  void run() override {
    outcome_ = render(plan_, source_, size_, target_);
    copy_.reset();
  }

  int settle(napi_env env) override {
    if (outcome_ != Outcome::done || result_ == nullptr) return static_cast<int>(outcome_);
    napi_value target;
    Bytes bytes;
    if (napi_get_reference_value(env, held_.back(), &target) != napi_ok || !readBytes(env, target, bytes)) return targetGone;
    if (bytes.size < plan_.bytes()) return targetGone;
    std::memcpy(bytes.data, result_.get(), plan_.bytes());
    return static_cast<int>(Outcome::done);
  }

 private:
  bool hold(napi_env env, napi_value value) {
    napi_ref reference;
    if (napi_create_reference(env, value, 1, &reference) != napi_ok) return false;
    held_.push_back(reference);
    return true;
  }

  RenderPlan plan_;
  const uint8_t* source_ = nullptr;
  size_t size_ = 0;
  std::unique_ptr<uint8_t[]> copy_;
  uint8_t* target_ = nullptr;
  std::unique_ptr<uint8_t[]> result_;
  Outcome outcome_ = Outcome::damaged;
};

napi_value renderLater(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value values[4];
  uint32_t owned = 0;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok || count < 4 ||
      napi_get_value_uint32(env, values[3], &owned) != napi_ok)
    return fail(env, "render takes a plan, a source, a target, and whose they are");
  auto request = readRequest(env, values);
  if (!request) return nullptr;
  auto job = std::make_unique<RenderJob>();
  if (!job->prepare(env, std::move(*request), owned, values[1], values[2])) return fail(env, "the arrays could not be held");
  return Environment::of(env)->submit(env, std::move(job));
}

napi_value renderNow(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value values[3];
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok || count < 3)
    return fail(env, "renderNow takes a plan, a source and a target");
  const auto request = readRequest(env, values);
  if (!request) return nullptr;
  const Outcome outcome = render(request->plan, request->source.data, request->source.size, request->target.data);
  napi_value result;
  napi_create_int32(env, static_cast<int>(outcome), &result);
  return result;
}

napi_value setThreads(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value value;
  uint32_t threads = 0;
  if (napi_get_cb_info(env, info, &count, &value, nullptr, nullptr) != napi_ok || count < 1 ||
      napi_get_value_uint32(env, value, &threads) != napi_ok || threads < 1 || threads > 1024)
    return fail(env, "the number of threads is between 1 and 1024");
  Pool::get().setThreads(threads);
  return nullptr;
}

napi_value threads(napi_env env, napi_callback_info) {
  napi_value result;
  napi_create_uint32(env, static_cast<uint32_t>(Pool::get().threads()), &result);
  return result;
}

napi_value jpeg(napi_env env, napi_callback_info) {
  napi_value result;
  const char* version = jpegLibrary();
  if (version == nullptr) {
    napi_get_null(env, &result);
  } else {
    napi_create_string_utf8(env, version, NAPI_AUTO_LENGTH, &result);
  }
  return result;
}

// Whatever C++ throws becomes an exception of JavaScript.
template <napi_value (*function)(napi_env, napi_callback_info)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return function(env, info);
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
}

napi_value start(napi_env env, napi_value exports) {
  if (!Environment::create(env)) return fail(env, "the addon for images could not be started");
  const napi_property_descriptor functions[] = {
      {"render", nullptr, guarded<renderLater>, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"renderNow", nullptr, guarded<renderNow>, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"setThreads", nullptr, guarded<setThreads>, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"threads", nullptr, guarded<threads>, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"jpeg", nullptr, guarded<jpeg>, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
  return exports;
}

}  // namespace
}  // namespace laclip::images

NAPI_MODULE_INIT() { return laclip::images::start(env, exports); }
