// What the host hands to each kernel, one struct by value. Read by the addon's compiler and by the GPU's, which knows no header of C++.
//
// Beside these, a kernel has constants in capitals: dtypes and sizes that are settled before it is compiled, so that the GPU's compiler
// throws out what does not apply. Each kernel says which it has.
#pragma once

namespace laclip {
namespace kernels {

// Dtypes of memory. Kernels compute in float32.
enum Type : int { kFloat32, kBFloat16, kFloat16, kAbsent };

struct AddNormForward {
  const float* residual;  // [rows, width]
  const void* change;     // [rows, width] or absent
  const float* weight;    // [width]
  const float* bias;      // [width]
  float* sum;             // [rows, width]; not written without a change
  void* normed;           // [rows, width]
  float* moments;         // [rows, 2]: mean, 1 / sqrt(variance + eps)
  long long rows;
  int width;
  float eps;
};

struct AddNormBackward {
  const float* through;   // [rows, width]: what the sum itself is given; not read without THROUGH
  const void* of_normed;  // [rows, width]
  const float* sum;       // [rows, width]
  const float* moments;   // [rows, 2]
  const float* weight;    // [width]
  float* of_residual;     // [rows, width]
  void* of_change;        // [rows, width]; not written when absent
  float* partial;         // [blocks, 2, width]: what each block has of the gradients of weight and bias
  long long rows;
  int width;
};

struct SplitHeadsForward {
  const void* projected;   // [rows, 3, heads, depth]
  const float* weights[2]; // [depth] of query and key
  const float* biases[2];  // [depth]
  void* normed;            // [rows, 2, heads, depth]: query and key
  long long rows;
  int heads;
  int depth;
  float eps;
};

struct SplitHeadsBackward {
  const void* of_part[3];   // query, key, value: [batch, heads, tokens, depth] with a dense last dimension, or null for zeros
  long long strides[3][3];  // of batch, heads and tokens, in numbers
  const void* projected;    // [rows, 3, heads, depth]; not read without norms
  const float* weights[2];  // [depth]
  void* of_projected;       // [rows, 3, heads, depth]
  float* partial;           // [blocks, 2, heads, 2, depth]: weight and bias of query, then of key; not written without norms
  float* of_bias;           // [blocks, 3, heads, depth]: what each block has of the sums over rows; not written without BIAS
  long long rows;
  int tokens;
  int heads;
  int depth;
  float eps;
};

struct Activate {
  const void* x;  // [count]
  void* y;        // [count]
  long long count;
};

struct ActivateBackward {
  const void* x;     // [count]
  const void* of_y;  // [count]
  void* of_x;        // [count]
  long long count;
};

struct ActivateBackwardWithBias {
  const void* x;     // [rows, width]
  const void* of_y;  // [rows, width]
  void* of_x;        // [rows, width]
  float* of_bias;    // [blocks / tiles, width]: what each block has of the sums over rows
  long long rows;
  int width;
  int tiles;         // blocks beside each other in a row
};

struct CutPatches {
  const unsigned char* pixels;  // [images, side, side, 3]
  const long long* kept;        // [patches]: which patch of its image each one is, counted row by row; absent for all of them
  void* out;                    // [patches, 3, PATCH, PATCH]
  long long patches;            // of all images
  int each;                     // of an image
  int side;
  int across;                   // patches beside each other in an image
  float scale[3], shift[3];     // of each colour
};

}  // namespace kernels
}  // namespace laclip
