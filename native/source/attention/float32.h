// Products in float32: the microkernel of AVX-512, AVX2 and NEON, which differ in the number of lanes and of registers.
//
// COLUMNS vectors of LANES are computed at a time for up to 6 rows: 6 x 4 sums fit into 32 registers, 6 x 2 into 16.
#pragma once

#include "columns.h"
#include "transpose.h"

namespace jinabert::attention {
namespace {

template <size_t LANES, size_t COLUMNS>
struct Float32 {
  using Element = float;
  using V = Vectors<LANES>;
  using Floats = typename V::Floats;
  static constexpr size_t kLanes = LANES;
  static constexpr size_t kColumns = COLUMNS, kSteps = 1;
  static constexpr size_t kTileRows = 6;
  static constexpr size_t kKeys = LANES;       // keys are computed in multiples of this
  static constexpr bool kWholeTiles = false;   // a tile at the end of a text has only the rows that are there
  static constexpr int kExponentialDegree = 6;
  // What sums of up to 64 squares or products may be off by, relative to the length of the vectors: several times the
  // worst case of 64 half units in the last place.
  static constexpr float kRadiusMargin = 2e-5f;
  struct Unit {};  // what has to be switched on while a thread computes: nothing

  static void store(Element* to, Floats x) { V::store(to, x); }

  static void convert(Element* to, const float* from, size_t count) { memcpy(to, from, count * sizeof(float)); }

  // keys: (count, channels apart by `stride`) -> (HEAD_SIZE, `row` keys), zeros behind the last.
  template <size_t HEAD_SIZE, size_t ROW>
  static void pack_keys(Element* to, const float* keys, size_t stride, size_t count) {
    for (size_t key = 0; key < ROW; key += LANES)
      for (size_t channel = 0; channel < HEAD_SIZE; channel += LANES)
        transpose<LANES>(keys + key * stride + channel, stride, count > key ? count - key : 0,
                         to + channel * ROW + key, ROW);
  }

  template <size_t HEAD_SIZE, size_t ROW>
  static void pack_values(Element* to, const float* values, size_t stride, size_t count) {
    for (size_t key = 0; key < count; key++) memcpy(to + key * HEAD_SIZE, values + key * stride, HEAD_SIZE * sizeof(float));
    memset(to + count * HEAD_SIZE, 0, (ROW - count) * HEAD_SIZE * sizeof(float));
  }

  template <size_t ROWS, bool ADD>
  static void multiply(const Element* a, size_t width_of_a, const Element* b, size_t width_of_b, float* result,
                       size_t width_of_result, size_t depth, size_t width) {
    multiply_in_columns<Float32, ROWS, ADD>(a, width_of_a, b, width_of_b, result, width_of_result, depth, width);
  }

  template <size_t ROWS, size_t VECTORS, bool ADD>
  static void multiply_columns(const Element* __restrict a, size_t width_of_a, const Element* __restrict b,
                               size_t width_of_b, float* __restrict result, size_t width_of_result, size_t depth) {
    Floats sums[ROWS][VECTORS];
#pragma GCC unroll 6
    for (size_t row = 0; row < ROWS; row++)
#pragma GCC unroll 4
      for (size_t v = 0; v < VECTORS; v++) sums[row][v] = Floats{};
    for (size_t d = 0; d < depth; d++) {
      Floats across[VECTORS];
#pragma GCC unroll 4
      for (size_t v = 0; v < VECTORS; v++) across[v] = V::load(b + d * width_of_b + v * LANES);
#pragma GCC unroll 6
      for (size_t row = 0; row < ROWS; row++) {
        const float factor = a[row * width_of_a + d];
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++) sums[row][v] += across[v] * factor;
      }
    }
#pragma GCC unroll 6
    for (size_t row = 0; row < ROWS; row++)
#pragma GCC unroll 4
      for (size_t v = 0; v < VECTORS; v++) {
        float* to = result + row * width_of_result + v * LANES;
        V::store(to, ADD ? V::load(to) + sums[row][v] : sums[row][v]);
      }
  }
};

}  // namespace
}  // namespace jinabert::attention
