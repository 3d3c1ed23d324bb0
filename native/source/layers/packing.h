// Weights as files hold them -> as kernels read them, once, when a session is made.
#pragma once

#include "problem.h"

namespace jinabert::layers {

// A weight of a file, or some columns of one: bytes (depth, columns) in rows of `stride`, a scale for each column, and
// biases unless null. Both sizes are multiples of 16.
struct StoredMatrix {
  const int8_t* weight;
  const float* scales;
  const float* biases;
  size_t depth;
  size_t columns;
  size_t stride;
};

// Bytes that a packed matrix takes, of `count` stored ones of this size.
size_t packed_bytes(const StoredMatrix& stored, size_t count);

// Packs one stored matrix, or two of the same size whose panels take turns, into `memory`, aligned to kAlignment.
//
// `middle` is the kernel's: what its bytes have for 0. Where there are no biases, zeros are stored. `fits_16_bits` tells
// whether two products of neighbouring rows add up in 16 bits whatever they are multiplied by, as the exporter sees to.
Matrix pack(const StoredMatrix* stored, size_t count, int middle, char* memory, Parallel& parallel, bool* fits_16_bits);

}  // namespace jinabert::layers
