// What the fused operators do to one row: plain loops over float32 that the compiler turns into vector instructions.
#pragma once

#include <cstdint>

namespace laclip {

// float32 of bfloat16, and back with rounding to the nearest even; a NaN stays one.
void widen(const uint16_t* from, float* to, int64_t count);
void narrow(const float* from, uint16_t* to, int64_t count);

// to = a + b
void add_rows(const float* a, const float* b, float* to, int64_t count);

// y = scale * x + a; y may be x.
void scale_and_add(const float* x, float scale, const float* a, float* y, int64_t count);

struct Moments {
  float mean;
  float rstd;  // 1 / sqrt(variance + eps)
};

// y = (x - mean) * rstd * weight + bias, with the row's own mean and variance
Moments normalise(const float* x, const float* weight, const float* bias, float* y, int64_t count, float eps);
Moments moments(const float* x, int64_t count, float eps);

// Adds the gradient of x to `dx`, those of weight and bias to `dweight` and `dbias`, where `dy` is that of y.
void normalise_backward(const float* x, const float* dy, const float* weight, Moments m, float* dx, float* dweight, float* dbias,
                        int64_t count);

// y = softmax(scale * x), scale above 0; y may be x. A row of nothing but -infinity gives NaN, as everywhere.
void softmax(const float* x, float scale, float* y, int64_t count);
// dx = scale * y * (dy - sum(dy * y)); dx may be dy.
void softmax_backward(const float* y, const float* dy, float scale, float* dx, int64_t count);

}  // namespace laclip
