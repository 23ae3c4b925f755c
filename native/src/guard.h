// One guard at every entry: whatever C++ throws becomes a JavaScript error, and nothing crosses the boundary unchecked.
#pragma once

#include <c10/util/Exception.h>
#include <node_api.h>

#include <stdexcept>
#include <string>

#include "environment.h"

namespace laclip {

// A JavaScript exception is already pending (a getter threw, the engine is shutting down): unwind without a second one.
struct PendingException {};

inline void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) throw PendingException{};
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw std::runtime_error(info != nullptr && info->error_message != nullptr ? info->error_message : "Node-API call failed");
}

// The arguments of one call, read lazily.
class Call {
 public:
  static constexpr size_t kMost = 32;

  Call(napi_env env, napi_callback_info info) : env(env) {
    count_ = kMost;
    check(env, napi_get_cb_info(env, info, &count_, values_, nullptr, &data_));
    if (count_ > kMost) throw std::runtime_error("a call takes at most " + std::to_string(kMost) + " arguments, got " + std::to_string(count_));
  }
  napi_value operator[](size_t i) const {
    if (i >= count_) throw std::runtime_error("internal: argument " + std::to_string(i) + " is missing");
    return values_[i];
  }
  size_t size() const { return count_; }
  bool has(size_t i) const { return i < count_; }
  Environment& environment() const { return *static_cast<Environment*>(data_); }

  napi_env env;

 private:
  size_t count_;
  napi_value values_[kMost];
  void* data_ = nullptr;
};

using Body = napi_value (*)(Call&);

inline void throw_to_javascript(napi_env env, const char* message) { napi_throw_error(env, "LACLIP_NATIVE", message); }

template <Body body>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    Call call(env, info);
    return body(call);
  } catch (const PendingException&) {
  } catch (const c10::Error& error) {
    throw_to_javascript(env, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    throw_to_javascript(env, "out of memory");
  } catch (const std::exception& error) {
    throw_to_javascript(env, error.what());
  } catch (...) {
    throw_to_javascript(env, "unknown C++ exception");
  }
  return nullptr;
}

}  // namespace laclip
