// The names of machine.cuh for a processor, so that the same kernels run without a GPU: each thread of a block is a fiber, and runs until
// the next sum or barrier. For tests, where memory is checked as well: what is read and written, and that it lies as `whole` says.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstdint>

#include "arguments.h"

#define DEVICE static inline
#define UNROLL
#define KERNEL(name, Arguments, together) static void name(const laclip::kernels::Arguments& a)
// One block runs at a time in each thread of the processor.
#define SHARED static thread_local

namespace laclip {
namespace kernels {

// Constants of all kernels; for a GPU they are compiled in.
struct Constants {
  int THREADS, CHANGE, OUT, THROUGH, WHOLE, LANES, COLUMNS, TYPE, NORMS, BIAS, QUICK, PATCH;
};
extern thread_local Constants constants;

// The place of the fiber that runs.
struct Place {
  int thread;
  long long block, blocks;
};
extern thread_local Place place;

DEVICE int thread() { return place.thread; }
DEVICE long long block() { return place.block; }
DEVICE long long blocks() { return place.blocks; }

// These two give way to the other threads.
void barrier();
void add_up(float* values, int count, int lanes);

template <int count>
DEVICE void lane_sums(float (&values)[count], int lanes) {
  add_up(values, count, lanes);
}

DEVICE float inverse_root(float x) { return 1.0f / std::sqrt(x); }
DEVICE float exponential(float x) { return std::exp(x); }
DEVICE float quotient(float a, float b) { return a / b; }

// Notes an access to memory that no tensor of this call has, or that lies askew.
void check_access(const void* from, long long bytes, bool writes, bool whole, int alignment);

DEVICE int size_of(int type) { return type == kFloat32 ? 4 : 2; }

// Numbers that a thread has at once: there an array of COLUMNS_MOST has COLUMNS.
DEVICE int numbers_of(int count) { return constants.COLUMNS > 0 && constants.COLUMNS < count ? constants.COLUMNS : count; }

template <int count>
DEVICE void check_run(const void* memory, long long at, int there, int type, bool whole, bool writes) {
  const int numbers = numbers_of(count);
  const int bytes = numbers * size_of(type);
  check_access(static_cast<const char*>(memory) + at * size_of(type), (whole || there > numbers ? numbers : there) * size_of(type), writes,
               whole, bytes < 16 ? bytes : 16);
}

template <int count>
DEVICE void read(float (&to)[count], const void* from, long long at, int there, int type, bool whole) {
  for (int i = 0; i < count; i++) to[i] = 0.0f;
  if (there <= 0) return;
  check_run<count>(from, at, there, type, whole, false);
  for (int i = 0; i < numbers_of(count) && i < there; i++) {
    if (type == kFloat32) to[i] = static_cast<const float*>(from)[at + i];
    else if (type == kBFloat16) to[i] = static_cast<const c10::BFloat16*>(from)[at + i];
    else to[i] = static_cast<const c10::Half*>(from)[at + i];
  }
}

template <int count>
DEVICE void write(const float (&from)[count], void* to, long long at, int there, int type, bool whole) {
  if (there <= 0) return;
  check_run<count>(to, at, there, type, whole, true);
  for (int i = 0; i < numbers_of(count) && i < there; i++) {
    if (type == kFloat32) static_cast<float*>(to)[at + i] = from[i];
    else if (type == kBFloat16) static_cast<c10::BFloat16*>(to)[at + i] = from[i];
    else static_cast<c10::Half*>(to)[at + i] = from[i];
  }
}

// As the access of one number that is `whole`: it lies at a multiple of its size.
template <typename T>
DEVICE T read_one(const T* values, long long at) {
  check_access(values + at, sizeof(T), false, true, sizeof(T));
  return values[at];
}

DEVICE int read_byte(const unsigned char* bytes, long long at) { return read_one(bytes, at); }
DEVICE long long read_index(const long long* indices, long long at) { return read_one(indices, at); }

DEVICE float scaled(float x, float scale, float shift) {
  const volatile float product = x * scale;
  return product + shift;
}

}  // namespace kernels
}  // namespace laclip

#define THREADS laclip::kernels::constants.THREADS
#define CHANGE laclip::kernels::constants.CHANGE
#define OUT laclip::kernels::constants.OUT
#define THROUGH laclip::kernels::constants.THROUGH
#define WHOLE laclip::kernels::constants.WHOLE
#define LANES laclip::kernels::constants.LANES
#define COLUMNS laclip::kernels::constants.COLUMNS
#define COLUMNS_MOST 8
#define TYPE laclip::kernels::constants.TYPE
#define NORMS laclip::kernels::constants.NORMS
#define BIAS laclip::kernels::constants.BIAS
#define QUICK laclip::kernels::constants.QUICK
#define PATCH laclip::kernels::constants.PATCH
