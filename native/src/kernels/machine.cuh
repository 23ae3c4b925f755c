// What kernels need of a GPU: which thread one is, sums over neighbouring threads, and numbers in memory, of whatever dtype, as float32.
//
// Its counterpart for a processor is emulation.h, which declares the same names. Kernels use nothing else, and so run on both.
#pragma once

#include "arguments.h"

#define DEVICE static __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define SHARED __shared__
// THREADS, a constant of every kernel, is the number of threads of a block. `together`: how many threads a multiprocessor must have room for,
// which bounds their registers: memory is only busy while enough of them wait for it.
#define KERNEL(name, Arguments, together)                                                       \
  extern "C" __global__ void __launch_bounds__(THREADS, (together) > THREADS ? ((together) / THREADS > 16 ? 16 : (together) / THREADS) : 1) \
      name(const laclip::kernels::Arguments a)

namespace laclip {
namespace kernels {

DEVICE int thread() { return static_cast<int>(threadIdx.x); }
DEVICE long long block() { return blockIdx.x; }
DEVICE long long blocks() { return gridDim.x; }
DEVICE void barrier() { __syncthreads(); }

// Sums over groups of `lanes` neighbouring threads, a power of two up to 32, in the same order for all of them. Every thread of a warp must
// come here.
template <int count>
DEVICE void lane_sums(float (&values)[count], int lanes) {
  UNROLL for (int offset = 16; offset > 0; offset >>= 1) {
    if (offset >= lanes) continue;
    UNROLL for (int i = 0; i < count; i++) values[i] += __shfl_xor_sync(0xFFFFFFFFu, values[i], offset);
  }
}

DEVICE float inverse_root(float x) { return rsqrtf(x); }
// To about two units in the last place near 0, and less exact where the result is too small to matter beside 1.
DEVICE float exponential(float x) { return __expf(x); }
DEVICE float quotient(float a, float b) { return __fdividef(a, b); }

DEVICE unsigned pack(float low, float high, int type) {
  unsigned both;
  if (type == kBFloat16) asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

DEVICE float widen(unsigned short bits, int type) {
  float value;
  if (type == kBFloat16) value = __uint_as_float(static_cast<unsigned>(bits) << 16);
  else asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

DEVICE void widen_pair(unsigned both, int type, float& low, float& high) {
  low = widen(static_cast<unsigned short>(both & 0xFFFFu), type);
  high = widen(static_cast<unsigned short>(both >> 16), type);
}

// `count` numbers from place `at` on, 4 or 8. Of these, `there` exist; the others are 0. `whole`: all of them exist or none, and they lie at
// a multiple of their size, or of 16 bytes where they are larger.
template <int count>
DEVICE void read(float (&to)[count], const void* from, long long at, int there, int type, bool whole) {
  UNROLL for (int i = 0; i < count; i++) to[i] = 0.0f;
  if (there <= 0) return;
  if (type == kFloat32) {
    const float* source = static_cast<const float*>(from) + at;
    if (whole) {
      UNROLL for (int i = 0; i < count; i += 4) {
        const float4 four = __ldg(reinterpret_cast<const float4*>(source + i));
        to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
      }
    } else {
      UNROLL for (int i = 0; i < count; i++) {
        if (i < there) to[i] = __ldg(source + i);
      }
    }
    return;
  }
  const unsigned short* source = static_cast<const unsigned short*>(from) + at;
  if (!whole) {
    UNROLL for (int i = 0; i < count; i++) {
      if (i < there) to[i] = widen(__ldg(source + i), type);
    }
  } else if (count == 4) {
    const uint2 pairs = __ldg(reinterpret_cast<const uint2*>(source));
    widen_pair(pairs.x, type, to[0], to[1]);
    widen_pair(pairs.y, type, to[2], to[3]);
  } else {
    UNROLL for (int i = 0; i < count; i += 8) {
      const uint4 pairs = __ldg(reinterpret_cast<const uint4*>(source + i));
      widen_pair(pairs.x, type, to[i], to[i + 1]);
      widen_pair(pairs.y, type, to[i + 2], to[i + 3]);
      widen_pair(pairs.z, type, to[i + 4], to[i + 5]);
      widen_pair(pairs.w, type, to[i + 6], to[i + 7]);
    }
  }
}

// The way back; rounds to the nearest even. Stored through functions of the machine: an ordinary store, in a loop, may be taken apart into narrow
// ones.
template <int count>
DEVICE void write(const float (&from)[count], void* to, long long at, int there, int type, bool whole) {
  if (there <= 0) return;
  if (type == kFloat32) {
    float* target = static_cast<float*>(to) + at;
    if (whole) {
      UNROLL for (int i = 0; i < count; i += 4) {
        __stwb(reinterpret_cast<float4*>(target + i), make_float4(from[i], from[i + 1], from[i + 2], from[i + 3]));
      }
    } else {
      UNROLL for (int i = 0; i < count; i++) {
        if (i < there) target[i] = from[i];
      }
    }
    return;
  }
  unsigned short* target = static_cast<unsigned short*>(to) + at;
  if (!whole) {
    UNROLL for (int i = 0; i < count; i++) {
      if (i < there) target[i] = static_cast<unsigned short>(pack(from[i], 0.0f, type) & 0xFFFFu);
    }
  } else if (count == 4) {
    __stwb(reinterpret_cast<uint2*>(target), make_uint2(pack(from[0], from[1], type), pack(from[2], from[3], type)));
  } else {
    UNROLL for (int i = 0; i < count; i += 8) {
      __stwb(reinterpret_cast<uint4*>(target + i), make_uint4(pack(from[i], from[i + 1], type), pack(from[i + 2], from[i + 3], type),
                                                              pack(from[i + 4], from[i + 5], type), pack(from[i + 6], from[i + 7], type)));
    }
  }
}

// Single values: a byte, and a whole number.
DEVICE int read_byte(const unsigned char* bytes, long long at) { return __ldg(bytes + at); }
DEVICE long long read_index(const long long* indices, long long at) { return __ldg(indices + at); }

// x * scale + shift, rounded after the product too, as two operators would.
DEVICE float scaled(float x, float scale, float shift) { return __fadd_rn(__fmul_rn(x, scale), shift); }

}  // namespace kernels
}  // namespace laclip
