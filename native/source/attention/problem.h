// What attention computes, and the kernels that do. Nothing here depends on an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../parallel.h"

namespace jinabert::attention {

// For every text, head and query i of it
//
//   context_i = sum_j w_ij value_j / sum_j w_ij,   w_ij = exp(scale * query_i . key_j - slope |position_i - position_j|)
//
// over the keys j of the same text. Rows that belong to no text get a context of 0.
struct Problem {
  const float* query;      // (rows, channels), as are the next three; a head's channels stand side by side
  const float* key;
  const float* value;
  float* context;
  size_t rows;
  size_t channels;         // heads * head size
  size_t heads;
  const float* slopes;     // (heads)
  float scale;
  const float* positions;  // (tokens), rising within a text
  const int64_t* texts;    // (text_count, 2): first row and end of each, one after the other
  size_t text_count;
};

enum class Precision { kFloat32, kBfloat16 };

// One way to compute it. `scratch` is memory of scratch_bytes(problem), aligned to kAlignment.
struct Kernel {
  const char* name;
  size_t (*scratch_bytes)(const Problem& problem);
  void (*attend)(const Problem& problem, void* scratch, Parallel& parallel);
};

constexpr size_t kAlignment = 64;  // bytes

// The best kernel that this processor has, or null. kBfloat16 is met by float32 where the processor lacks bfloat16.
const Kernel* choose_kernel(size_t head_size, Precision precision);

// Every kernel that this processor can run for heads of this size, for tests and benchmarks; returns how many.
constexpr size_t kMostKernels = 5;
size_t list_kernels(size_t head_size, const Kernel* kernels[kMostKernels]);

}  // namespace jinabert::attention
