// Kernels on their way to a device: compiled by NVRTC, loaded and started through the driver. A device that stands in for a GPU has them
// emulated.
//
// What is loaded is kept by device, file and constants, and its code on disk. Loading is no work that a CUDA graph can record: a step has to
// run once before it is captured, as libtorch's own kernels want it.
#include "kernels.h"

#include <c10/core/DeviceGuard.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>

#include "convert.h"
#include "emulate.h"
#include "kernels/arguments.h"
#include "nvrtc.h"
#include "stand-in-memory.h"
#include "stand-in.h"

#ifdef LACLIP_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace laclip {

namespace {

// Where compiled kernels are kept. Each thread of JavaScript names it when it loads the addon.
struct Folder {
  std::mutex mutex;
  std::string name;
};

Folder& folder() {
  static auto* const one = new Folder;
  return *one;
}

#ifdef LACLIP_WITH_CUDA

std::string folder_name() {
  const std::lock_guard<std::mutex> lock(folder().mutex);
  return folder().name;
}

int threads_of(const KernelCall& call) {
  for (const auto& constant : call.constants) {
    if (std::strcmp(constant.first, "THREADS") == 0) return constant.second;
  }
  throw std::runtime_error(std::string("kernel ") + call.name + " has no number of threads");
}

// The driver's functions, by name: CUDA's own header would link the driver, which is missing where there is no GPU.
struct Driver {
  using Module = struct OpaqueModule*;
  using Function = struct OpaqueFunction*;
  using Context = struct OpaqueContext*;

  int (*device)(int*, int number);
  int (*primary)(Context*, int device);
  int (*current_context)(Context*);
  int (*use_context)(Context);
  int (*load)(Module*, const void* code);
  int (*function)(Function*, Module, const char* name);
  int (*resident)(int* blocks, Function, int threads, size_t shared_bytes);
  int (*launch)(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared_bytes, void* stream, void** arguments,
                void** extra);
  int (*words)(int, const char**);

  void check(int code, const char* what) const {
    if (code == 0) return;
    const char* text = nullptr;
    words(code, &text);
    throw std::runtime_error(std::string("CUDA's driver, ") + what + ": " + (text == nullptr ? "error " + std::to_string(code) : text));
  }
};

void* open_library(std::initializer_list<const char*> names) {
  std::string why;
  for (const char* name : names) {
    if (void* library = dlopen(name, RTLD_LAZY | RTLD_LOCAL)) return library;
    if (why.empty()) why = dlerror();
  }
  throw std::runtime_error(why);
}

const Driver& driver() {
  static const Driver found = [] {
    void* library = open_library({"libcuda.so.1"});
    const auto symbol = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      if (function == nullptr) throw std::runtime_error(std::string("CUDA's driver has no ") + name);
    };
    Driver functions{};
    symbol(functions.device, "cuDeviceGet");
    symbol(functions.primary, "cuDevicePrimaryCtxRetain");
    symbol(functions.current_context, "cuCtxGetCurrent");
    symbol(functions.use_context, "cuCtxSetCurrent");
    symbol(functions.load, "cuModuleLoadData");
    symbol(functions.function, "cuModuleGetFunction");
    symbol(functions.resident, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
    symbol(functions.launch, "cuLaunchKernel");
    symbol(functions.words, "cuGetErrorString");
    return functions;
  }();
  return found;
}

// libtorch opens the first one for its own kernels. It brings NVRTC with it.
void* compiler_library() {
  static void* const library = open_library({"libcaffe2_nvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"});
  return library;
}

Driver::Module compiled_for(c10::Device device, const KernelCall& call) {
  const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(device.index());
  if (properties.major < 8) throw std::runtime_error("they take a GPU of compute capability 8.0 or later");
  const auto compiled = [&](const std::string& architecture) {
    Driver::Module module = nullptr;
    use_compiled(compiler_library(), architecture, call, folder_name(),
                 [&](const std::string& code) { driver().check(driver().load(&module, code.c_str()), "loading a kernel"); });
    return module;
  };
  try {
    return compiled("sm_" + std::to_string(properties.major) + std::to_string(properties.minor));
  } catch (const std::runtime_error& first) {
    try {
      // A GPU that is newer than the compiler, or a driver that is older: the driver knows how to go on from here.
      return compiled("compute_80");
    } catch (const std::runtime_error&) {
      throw std::runtime_error(std::string(first.what()) + " (LACLIP_KERNELS=off does without our kernels)");
    }
  }
}

struct Loaded {
  Driver::Function function;
  int64_t resident;
};

// A thread that has not worked with CUDA has no context yet, or one that has worked with another GPU may still have that one's. libtorch's is
// the device's own.
void need_context(c10::Device device) {
  static std::map<int, Driver::Context> contexts;
  Driver::Context& own = contexts[device.index()];
  if (own == nullptr) {
    int number = 0;
    driver().check(driver().device(&number, device.index()), "asking for the device");
    driver().check(driver().primary(&own, number), "making a context");
  }
  Driver::Context present = nullptr;
  driver().check(driver().current_context(&present), "asking for the context");
  if (present != own) driver().check(driver().use_context(own), "taking a context");
}

// To be called with the device being the thread's own.
const Loaded& loaded(c10::Device device, const KernelCall& call) {
  static std::mutex mutex;
  static auto* const modules = new std::map<std::pair<std::string, std::vector<int>>, Driver::Module>;
  static auto* const all = new std::map<std::pair<std::string, std::vector<int>>, Loaded>;
  std::vector<int> key{device.index()};
  for (const auto& constant : call.constants) key.push_back(constant.second);
  const std::lock_guard<std::mutex> lock(mutex);
  need_context(device);
  const auto known = all->find({call.name, key});
  if (known != all->end()) return known->second;
  const auto compiled = modules->find({call.file, key});
  Driver::Module module = compiled == modules->end() ? nullptr : compiled->second;
  if (module == nullptr) {
    module = compiled_for(device, call);
    modules->emplace(std::make_pair(std::string(call.file), key), module);
  }
  Loaded found{};
  driver().check(driver().function(&found.function, module, call.name), "finding a kernel");
  int resident = 0;
  driver().check(driver().resident(&resident, found.function, threads_of(call), 0), "asking how many blocks fit");
  found.resident = std::max(resident, 1) * static_cast<int64_t>(at::cuda::getDeviceProperties(device.index())->multiProcessorCount);
  return all->emplace(std::make_pair(std::string(call.name), key), found).first->second;
}

#endif

}  // namespace

int64_t resident_blocks([[maybe_unused]] c10::Device device, [[maybe_unused]] const KernelCall& call) {
#ifdef LACLIP_WITH_CUDA
  if (device.is_cuda()) {
    const c10::DeviceGuard guard(device);
    return loaded(device, call).resident;
  }
#endif
  // Few, so that a block meets several rows also in a small test.
  return 3;
}

void launch_bytes(c10::Device device, const KernelCall& call, int64_t blocks, const void* arguments, size_t bytes,
                  const std::vector<at::Tensor>& memory) {
  if (blocks == 0) return;
#ifdef LACLIP_WITH_CUDA
  if (device.is_cuda()) {
    const c10::DeviceGuard guard(device);
    const Loaded& kernel = loaded(device, call);
    void* parameters[] = {const_cast<void*>(arguments)};
    driver().check(driver().launch(kernel.function, static_cast<unsigned>(blocks), 1, 1, static_cast<unsigned>(threads_of(call)), 1, 1, 0,
                                   c10::cuda::getCurrentCUDAStream(device.index()).stream(), parameters, nullptr),
                   call.name);
    return;
  }
#endif
  if (device.type() != c10::DeviceType::PrivateUse1) throw std::runtime_error(std::string(call.name) + ": no kernel for " + device.str());
  for (const at::Tensor& tensor : memory) use_on_stream(tensor);
  emulate(call, blocks, arguments, memory);
  const char* const first = static_cast<const char*>(arguments);
  done_on_stand_in([call, blocks, same = std::vector<char>(first, first + bytes), memory] { emulate(call, blocks, same.data(), memory); });
}

napi_value kernel_problem(Call& call) {
  const c10::Device device(to_string(call.env, call[0]));
  if (device.type() == c10::DeviceType::PrivateUse1) return undefined(call.env);
#ifdef LACLIP_WITH_CUDA
  if (device.is_cuda()) {
    try {
      const c10::Device placed(device.type(), device.has_index() ? device.index() : static_cast<c10::DeviceIndex>(0));
      // One of each file, for a try.
      const int type = kernels::kBFloat16;
      const std::pair<const char*, int> whole{"WHOLE", 1};
      resident_blocks(placed, {"activation", "activate_forward", {{"THREADS", 128}, {"COLUMNS", 8}, {"TYPE", type}, {"QUICK", 1}, whole}});
      resident_blocks(placed, {"add-norm", "add_norm_forward", {{"THREADS", 96}, {"CHANGE", type}, {"OUT", type}, {"THROUGH", 1}, whole}});
      resident_blocks(placed, {"cut-patches", "cut_patches", {{"THREADS", 96}, {"COLUMNS", 8}, {"TYPE", type}, {"PATCH", 16}, whole}});
      resident_blocks(placed, {"split-heads", "split_heads_forward",
                               {{"THREADS", 192}, {"LANES", 8}, {"COLUMNS", 8}, {"TYPE", type}, whole, {"NORMS", 1}, {"BIAS", 1}}});
      return undefined(call.env);
    } catch (const c10::Error& error) {
      return from_string(call.env, error.what_without_backtrace());
    } catch (const std::exception& error) {
      return from_string(call.env, error.what());
    }
  }
#endif
  return from_string(call.env, "there are none for " + device.str());
}

napi_value keep_kernels(Call& call) {
  std::string name = to_string(call.env, call[0]);
  const std::lock_guard<std::mutex> lock(folder().mutex);
  folder().name = std::move(name);
  return undefined(call.env);
}

napi_value kernel_compilations(Call& call) { return from_double(call.env, static_cast<double>(compilations())); }

napi_value compile_kernels(Call& call) {
  const std::string path = to_string(call.env, call[0]);
  const std::string architecture = to_string(call.env, call[1]);
  const std::string file = to_string(call.env, call[2]);
  void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  KernelCall what{file.c_str(), "", {}};
  uint32_t count = 0;
  check(call.env, napi_get_array_length(call.env, call[3], &count));
  const std::vector<double> values = to_double_list(call.env, call[4]);
  if (values.size() != count) throw std::runtime_error("compileKernels: names and values of constants are not equally many");
  std::vector<std::string> names;
  for (uint32_t i = 0; i < count; i++) {
    napi_value name;
    check(call.env, napi_get_element(call.env, call[3], i, &name));
    names.push_back(to_string(call.env, name));
  }
  for (uint32_t i = 0; i < count; i++) what.constants.emplace_back(names[i].c_str(), static_cast<int>(values[i]));
  std::string code;
  use_compiled(library, architecture, what, to_string(call.env, call[5]), [&](const std::string& found) { code = found; });
  void* data;
  napi_value buffer;
  check(call.env, napi_create_arraybuffer(call.env, code.size(), &data, &buffer));
  std::copy(code.begin(), code.end(), static_cast<char*>(data));
  return buffer;
}

}  // namespace laclip
