// Registration: the names that src/torch/native.ts describes.
#include "adamw.h"
#include "autograd.h"
#include "device.h"
#include "dispatch.h"
#include "distributed.h"
#include "environment.h"
#include "graph.h"
#include "guard.h"
#include "kept-code.h"
#include "kernels.h"
#include "profile.h"
#include "recompute.h"
#include "runtime.h"
#include "tensor.h"

#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {

using laclip::Environment;
using laclip::guarded;

// Runs when the environment ends (process exit or worker termination): drops every tensor that is still alive.
void end_environment(napi_env, void* data, void*) { delete static_cast<Environment*>(data); }

void declare(napi_env env, napi_value exports, const char* name, napi_callback function, Environment* environment) {
  napi_value value;
  laclip::check(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, function, environment, &value));
  laclip::check(env, napi_set_named_property(env, exports, name, value));
}

// A training step takes the memory that the one before has freed. Given back in between, it would come again page by page, each one
// cleared, some hundred thousand times a step. A setting of the user's own (MALLOC_TRIM_THRESHOLD_ and the like) comes first.
void keep_freed_memory() {
#ifdef __GLIBC__
  if (std::getenv("MALLOC_TRIM_THRESHOLD_") || std::getenv("MALLOC_MMAP_THRESHOLD_") || std::getenv("GLIBC_TUNABLES")) return;
  // Older versions of the C library refuse more than half of what the heap of a thread can be, 32 MiB. Left at that, they would map each
  // block beyond 128 KiB anew: setting either ends their own adapting of both.
  if (!mallopt(M_MMAP_THRESHOLD, 1 << 30)) mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace

NAPI_MODULE_INIT() {
  keep_freed_memory();
  auto* environment = new Environment(env);
  if (napi_set_instance_data(env, environment, end_environment, nullptr) != napi_ok) {
    delete environment;
    napi_throw_error(env, "LACLIP_NATIVE", "the addon could not be set up");
    return nullptr;
  }
#define LACLIP_DECLARE(name, function) declare(env, exports, name, guarded<laclip::function>, environment)
  try {
    LACLIP_DECLARE("findOperator", find_operator);
    LACLIP_DECLARE("call", call_operator);
    LACLIP_DECLARE("schemas", schemas);
    LACLIP_DECLARE("fromBytes", tensor_from_bytes);
    LACLIP_DECLARE("toBytes", tensor_to_bytes);
    LACLIP_DECLARE("copyBytes", tensor_copy_bytes);
    LACLIP_DECLARE("shape", tensor_shape);
    LACLIP_DECLARE("dtype", tensor_dtype);
    LACLIP_DECLARE("device", tensor_device);
    LACLIP_DECLARE("item", tensor_item);
    LACLIP_DECLARE("release", tensor_release);
    LACLIP_DECLARE("releaseMany", tensor_release_many);
    LACLIP_DECLARE("account", tensor_account);
    LACLIP_DECLARE("isSame", tensor_is_same);
    LACLIP_DECLARE("setRequiresGrad", set_requires_grad);
    LACLIP_DECLARE("requiresGrad", requires_grad);
    LACLIP_DECLARE("gradient", gradient);
    LACLIP_DECLARE("setGradient", set_gradient);
    LACLIP_DECLARE("backward", backward);
    LACLIP_DECLARE("setGradMode", set_grad_mode);
    LACLIP_DECLARE("gradMode", grad_mode);
    LACLIP_DECLARE("setAutocast", set_autocast);
    LACLIP_DECLARE("clearAutocastCache", clear_autocast_cache);
    LACLIP_DECLARE("recompute", recompute);
    LACLIP_DECLARE("handOver", hand_over);
    LACLIP_DECLARE("adamwStep", adamw_step);
    LACLIP_DECLARE("adamwStepOnDevice", adamw_step_on_device);
    LACLIP_DECLARE("setThreads", set_threads);
    LACLIP_DECLARE("threads", threads);
    LACLIP_DECLARE("manualSeed", manual_seed);
    LACLIP_DECLARE("randomState", random_state);
    LACLIP_DECLARE("setRandomState", set_random_state);
    LACLIP_DECLARE("setTf32", set_tf32);
    LACLIP_DECLARE("tf32", tf32);
    LACLIP_DECLARE("libraryInfo", library_info);
    LACLIP_DECLARE("gpuProblem", gpu_problem);
    LACLIP_DECLARE("deviceProperties", device_properties);
    LACLIP_DECLARE("useDevice", use_device);
    LACLIP_DECLARE("synchronize", synchronize);
    LACLIP_DECLARE("startWaitCount", start_wait_count);
    LACLIP_DECLARE("endWaitCount", end_wait_count);
    LACLIP_DECLARE("startProfile", start_profile);
    LACLIP_DECLARE("endProfile", end_profile);
    LACLIP_DECLARE("openGraph", open_graph);
    LACLIP_DECLARE("endGraph", end_graph);
    LACLIP_DECLARE("replayGraph", replay_graph);
    LACLIP_DECLARE("closeGraph", close_graph);
    LACLIP_DECLARE("deviceMemory", device_memory);
    LACLIP_DECLARE("resetPeakMemory", reset_peak_memory);
    LACLIP_DECLARE("releaseMemory", release_memory);
    LACLIP_DECLARE("moveTensor", move_tensor);
    LACLIP_DECLARE("setDeterministic", set_deterministic);
    LACLIP_DECLARE("standInDevice", stand_in_device);
    LACLIP_DECLARE("kernelProblem", kernel_problem);
    LACLIP_DECLARE("keepKernels", keep_kernels);
    LACLIP_DECLARE("kernelCompilations", kernel_compilations);
    LACLIP_DECLARE("compileKernels", compile_kernels);
    LACLIP_DECLARE("keepCode", keep_code);
    LACLIP_DECLARE("standInMemory", stand_in_memory);
    LACLIP_DECLARE("standInWorksAside", stand_in_works_aside);
    LACLIP_DECLARE("memoryInfo", memory_info);
    LACLIP_DECLARE("startMemoryMeasure", start_memory_measure);
    LACLIP_DECLARE("endMemoryMeasure", end_memory_measure);
    LACLIP_DECLARE("distributedBackends", distributed_backends);
    LACLIP_DECLARE("openGroup", open_group);
    LACLIP_DECLARE("closeGroup", close_group);
    LACLIP_DECLARE("groupStartSum", group_start_sum);
    LACLIP_DECLARE("groupStartBroadcast", group_start_broadcast);
    LACLIP_DECLARE("workWait", work_wait);
    LACLIP_DECLARE("groupGatherWithGradient", group_gather_with_gradient);
    LACLIP_DECLARE("fingerprint", fingerprint);
    LACLIP_DECLARE("openReducer", open_reducer);
    LACLIP_DECLARE("armReducer", arm_reducer);
    LACLIP_DECLARE("finishReducer", finish_reducer);
    LACLIP_DECLARE("closeReducer", close_reducer);
  } catch (const std::exception& error) {
    laclip::throw_to_javascript(env, error.what());
    return nullptr;
  } catch (const laclip::PendingException&) {
    return nullptr;
  }
#undef LACLIP_DECLARE
  return exports;
}
