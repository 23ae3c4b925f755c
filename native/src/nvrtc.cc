// The sources of the kernels lie in the addon; NVRTC comes with every libtorch for CUDA. So no machine needs a CUDA compiler. Compiling takes
// tenths of a second for each set of constants, so the code is kept on disk.
//
// Its functions are looked up by name and described here: their headers don't come with each libtorch, and their form has not changed since
// CUDA 11.1.
#include "nvrtc.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "kept-code.h"
#include "kernel-sources.h"

namespace laclip {

namespace {

using Program = struct OpaqueProgram*;

template <typename Function>
Function symbol(void* library, const char* name) {
  void* found = dlsym(library, name);
  if (found == nullptr) throw std::runtime_error(std::string("there is no ") + name + " in the library of CUDA's compiler");
  return reinterpret_cast<Function>(found);
}

struct Compiler {
  explicit Compiler(void* library)
      : create(symbol<decltype(create)>(library, "nvrtcCreateProgram")),
        compile(symbol<decltype(compile)>(library, "nvrtcCompileProgram")),
        destroy(symbol<decltype(destroy)>(library, "nvrtcDestroyProgram")),
        log_size(symbol<decltype(log_size)>(library, "nvrtcGetProgramLogSize")),
        log(symbol<decltype(log)>(library, "nvrtcGetProgramLog")),
        cubin_size(symbol<decltype(cubin_size)>(library, "nvrtcGetCUBINSize")),
        cubin(symbol<decltype(cubin)>(library, "nvrtcGetCUBIN")),
        ptx_size(symbol<decltype(ptx_size)>(library, "nvrtcGetPTXSize")),
        ptx(symbol<decltype(ptx)>(library, "nvrtcGetPTX")),
        words(symbol<decltype(words)>(library, "nvrtcGetErrorString")) {
    int major = 0, minor = 0;
    check(symbol<int (*)(int*, int*)>(library, "nvrtcVersion")(&major, &minor), "asking for its version");
    version = std::to_string(major) + "." + std::to_string(minor);
    Dl_info place;
    if (dladdr(reinterpret_cast<void*>(create), &place) != 0) path = place.dli_fname;
  }

  // NVRTC opens a second library by its name alone, and does not look beside itself, where a wheel has it. Opened before, it is found.
  void open_builtins() const {
    // Where it is not there, NVRTC will say what it lacks.
    dlopen((path.substr(0, path.rfind('/') + 1) + "libnvrtc-builtins.so." + version).c_str(), RTLD_LAZY | RTLD_GLOBAL);
  }

  // What tells it from others. Corrected ones have the same version, and hardly the same size. Empty where it can't be told.
  std::string name() const {
    struct stat file {};
    return stat(path.c_str(), &file) == 0 ? "NVRTC " + version + " of " + std::to_string(file.st_size) + " bytes" : "";
  }

  void check(int code, const char* what) const {
    if (code != 0) throw std::runtime_error(std::string("CUDA's compiler, ") + what + ": " + words(code));
  }

  int (*create)(Program*, const char* source, const char* name, int headers, const char* const*, const char* const*);
  int (*compile)(Program, int options, const char* const*);
  int (*destroy)(Program*);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*cubin_size)(Program, size_t*);
  int (*cubin)(Program, char*);
  int (*ptx_size)(Program, size_t*);
  int (*ptx)(Program, char*);
  const char* (*words)(int);
  std::string version;
  std::string path;
};

// The file after what it builds on; their own #include lines lead nowhere here.
std::string whole_source(const char* file) {
  std::string source;
  for (const char* part : {"arguments.h", "machine.cuh", "block-sums.cuh", file}) {
    const KernelSource* found = nullptr;
    for (const KernelSource& known : kernel_sources) {
      if (known.name == std::string(part) || known.name == std::string(part) + ".cu") found = &known;
    }
    if (found == nullptr) throw std::runtime_error(std::string("there is no kernel source ") + part);
    source += std::string("#line 1 \"") + found->name + "\"\n";
    for (const char* line = found->text; *line != 0;) {
      const char* end = std::strchr(line, '\n');
      const size_t length = end == nullptr ? std::strlen(line) : static_cast<size_t>(end - line) + 1;
      const bool skipped = std::strncmp(line, "#include", 8) == 0 || std::strncmp(line, "#pragma once", 12) == 0;
      source += skipped ? "\n" : std::string(line, length);
      line += length;
    }
  }
  return source;
}

std::atomic<int64_t> compiled{0};

std::string compile(const Compiler& compiler, const std::string& architecture, const char* file, const std::string& source,
                    const std::vector<std::string>& options) {
  compiler.open_builtins();
  std::vector<const char*> texts;
  for (const std::string& option : options) texts.push_back(option.c_str());

  Program program;
  compiler.check(compiler.create(&program, source.c_str(), file, 0, nullptr, nullptr), "beginning");
  struct Ending {
    const Compiler& compiler;
    Program program;
    ~Ending() { compiler.destroy(&program); }
  } ending{compiler, program};
  const int outcome = compiler.compile(program, static_cast<int>(texts.size()), texts.data());
  if (outcome != 0) {
    size_t length = 0;
    std::string log;
    if (compiler.log_size(program, &length) == 0 && length > 1) {
      log.resize(length);
      compiler.log(program, &log[0]);
      log.resize(length - 1);
    }
    throw std::runtime_error(std::string("CUDA's compiler, on ") + file + " for " + architecture + ": " + compiler.words(outcome) +
                             (log.empty() ? "" : ": " + log));
  }
  const bool virtual_machine = architecture.compare(0, 8, "compute_") == 0;
  size_t size = 0;
  compiler.check((virtual_machine ? compiler.ptx_size : compiler.cubin_size)(program, &size), "reading its result");
  std::string code(size, 0);
  compiler.check((virtual_machine ? compiler.ptx : compiler.cubin)(program, &code[0]), "reading its result");
  compiled++;
  return code;
}

}  // namespace

void use_compiled(void* library, const std::string& architecture, const KernelCall& call, const std::string& folder,
                  const std::function<void(const std::string&)>& use) {
  const Compiler compiler(library);
  const std::string source = whole_source(call.file);
  std::vector<std::string> options = {"--gpu-architecture=" + architecture, "--std=c++17"};
  for (const auto& constant : call.constants) {
    options.push_back(std::string("--define-macro=") + constant.first + "=" + std::to_string(constant.second));
    // Only for a processor is it more than a thread has.
    if (std::strcmp(constant.first, "COLUMNS") == 0) options.push_back("--define-macro=COLUMNS_MOST=" + std::to_string(constant.second));
  }
  const std::string name = compiler.name();
  std::string key = name + "\n";
  for (const std::string& option : options) key += option + "\n";
  key += source;
  use_kept_code(
      name.empty() ? "" : folder, key, [&] { return compile(compiler, architecture, call.file, source, options); }, use);
}

int64_t compilations() { return compiled; }

}  // namespace laclip
