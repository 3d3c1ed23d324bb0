// Products of bfloat16 pairs with AVX-512 BF16: vdpbf16ps multiplies two pairs and adds both products to a lane.
#pragma once

#include "bfloat16.h"
#include "columns.h"

namespace jinabert::attention {
namespace {

struct Bfloat16Avx512 : Bfloat16Pairs {
  struct Unit {};  // nothing to be switched on
  static constexpr size_t kColumns = 4, kSteps = 2;
  static constexpr size_t kTileRows = 6;
  static constexpr size_t kKeys = kLanes;
  static constexpr bool kWholeTiles = false;

  template <size_t ROWS, bool ADD>
  static void multiply(const Element* a, size_t width_of_a, const Element* b, size_t width_of_b, float* result,
                       size_t width_of_result, size_t depth, size_t width) {
    multiply_in_columns<Bfloat16Avx512, ROWS, ADD>(a, width_of_a, b, width_of_b, result, width_of_result, depth, width);
  }

  template <size_t ROWS, size_t VECTORS, bool ADD>
  static void multiply_columns(const Element* __restrict a, size_t width_of_a, const Element* __restrict b,
                               size_t width_of_b, float* __restrict result, size_t width_of_result, size_t depth) {
    __m512 sums[ROWS][VECTORS];
#pragma GCC unroll 6
    for (size_t row = 0; row < ROWS; row++)
#pragma GCC unroll 4
      for (size_t v = 0; v < VECTORS; v++) sums[row][v] = _mm512_setzero_ps();
    for (size_t d = 0; d < depth; d += 2) {
      __m512bh across[VECTORS];
#pragma GCC unroll 4
      for (size_t v = 0; v < VECTORS; v++)
        across[v] = (__m512bh)_mm512_loadu_si512(b + d * width_of_b + 2 * v * kLanes);
#pragma GCC unroll 6
      for (size_t row = 0; row < ROWS; row++) {
        const __m512bh factor = (__m512bh)_mm512_set1_epi32(pair_at(a + row * width_of_a + d));
#pragma GCC unroll 4
        for (size_t v = 0; v < VECTORS; v++) sums[row][v] = _mm512_dpbf16_ps(sums[row][v], factor, across[v]);
      }
    }
#pragma GCC unroll 6
    for (size_t row = 0; row < ROWS; row++)
#pragma GCC unroll 4
      for (size_t v = 0; v < VECTORS; v++) {
        float* to = result + row * width_of_result + v * kLanes;
        _mm512_storeu_ps(to, ADD ? _mm512_add_ps(_mm512_loadu_ps(to), sums[row][v]) : sums[row][v]);
      }
  }

 private:
  static int32_t pair_at(const Element* from) {
    int32_t pair;
    memcpy(&pair, from, sizeof pair);
    return pair;
  }
};

}  // namespace
}  // namespace jinabert::attention
