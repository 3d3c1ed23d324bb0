// What the int8 layers compute on either side of attention, and the kernels that do. Nothing here depends on an
// instruction set.
//
// A row x is rounded to bytes by itself: q = round(127 x / max |x|), so that its result depends on no other row. A
// weight is signed bytes with a scale a column. The integers of a product are exact.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../parallel.h"

namespace jinabert::layers {

constexpr size_t kPanel = 16;  // columns that stand together in a packed weight
constexpr size_t kTile = 32;   // columns that are computed at a time, two panels
constexpr size_t kGroup = 4;   // rows whose bytes stand together: what one instruction multiplies and adds

// A weight (depth, columns), packed: [columns, rounded up to whole tiles / 16][depth / 4][16][4] bytes. The other three
// have an entry a column, rounded up likewise.
struct Matrix {
  const int8_t* panels;
  const int32_t* starts;  // what a sum begins with: it takes out what the middle of unsigned bytes adds
  const float* scales;    // what one of the integers is worth, for a row of size 1
  const float* biases;    // zeros where there are none
  size_t depth;           // a multiple of 16, as is the next
  size_t columns;
};

// Layer normalisation over a row's channels.
struct Norm {
  const float* weight;  // null where there is none
  const float* bias;
};

enum class Activation { kGelu, kRelu };

// Before attention: hidden (rows, hidden size) -> query, key, value. Those of two of them may be normalised.
struct Projection {
  size_t hidden_size;
  const float* smoothing;  // (hidden size)
  Matrix parts[3];
  Norm norms[3];
  float epsilon;
};

// After it: context, hidden (rows, hidden size) -> the layer's output.
//
//   attended = norm(context output + hidden), or norm(hidden + norm(context output + hidden)) with two norms
//   result = norm((activation(attended gate) * (attended up)) down + attended)
struct AfterAttention {
  size_t hidden_size, width;
  Matrix output;
  Norm attended, middle;
  const float* smoothing;  // (hidden size), of what gate and up read
  Matrix gate_up;          // panels of the two take turns, so that a tile has 16 columns of each
  Activation activation;
  Matrix down;
  Norm last;
  float epsilon;
};

struct ProjectionRows {
  const float* hidden;  // (rows, hidden size), as are the next
  float* outputs[3];
  size_t rows;
};

struct AfterAttentionRows {
  const float* context;  // (rows, hidden size), as are the next
  const float* hidden;
  float* output;
  size_t rows;
};

// Memory and threads of a run; `scratch` is as large as the kernel says, and aligned to kAlignment.
struct Resources {
  char* scratch;
  size_t threads;  // that run at a time, at most
  Parallel& parallel;
};

constexpr size_t kAlignment = 64;  // bytes

// One way to compute them.
struct Kernel {
  const char* name;
  int middle;         // what a byte of a row is for 0: 128 of unsigned bytes, 0 of signed ones
  bool adds_16_bits;  // whether two products of neighbouring rows are added in 16 bits
  size_t (*projection_scratch)(const Projection& weights, size_t rows, size_t threads);
  void (*project)(const Projection& weights, const ProjectionRows& rows, const Resources& resources);
  size_t (*after_attention_scratch)(const AfterAttention& weights, size_t rows, size_t threads);
  void (*finish)(const AfterAttention& weights, const AfterAttentionRows& rows, const Resources& resources);
};

// The best kernel that this processor has, or null: for sizes that are no multiple of 16, and where onnxruntime's own
// products are faster, which use the tiles of AMX.
const Kernel* choose_kernel(size_t hidden_size);

// Every kernel that this processor can run, for tests and benchmarks; returns how many.
constexpr size_t kMostKernels = 4;
size_t list_kernels(const Kernel* kernels[kMostKernels]);

}  // namespace jinabert::layers
