// A square of floats, turned: what stands in rows comes to stand in columns.
#pragma once

#include <utility>

#include "../lanes.h"

namespace jinabert::attention {
namespace {

// a0 b0 a1 b1 ... from one half of the lanes of `a` and `b`, the first (HALF 0) or the second (HALF 1).
template <size_t HALF, typename Floats, size_t... LANE>
Floats interleave(Floats a, Floats b, std::index_sequence<LANE...>) {
  constexpr size_t kLanes = sizeof...(LANE);
  return __builtin_shufflevector(a, b, static_cast<int>(HALF * kLanes / 2 + LANE / 2 + LANE % 2 * kLanes)...);
}

// from (LANES, LANES) with rows `stride` apart -> to (LANES, LANES) with rows `width` apart. Only the first `rows` are
// read; the others are taken for zeros.
//
// Interleaving row i with row i + LANES / 2 moves each element by one bit of its place, (row, column) -> (column, row)
// being a rotation of all bits by half their number.
template <size_t LANES>
void transpose(const float* from, size_t stride, size_t rows, float* to, size_t width) {
  using V = Vectors<LANES>;
  using Floats = typename V::Floats;
  constexpr auto kAll = std::make_index_sequence<LANES>();
  Floats square[LANES];
  for (size_t row = 0; row < LANES; row++) square[row] = row < rows ? V::load(from + row * stride) : Floats{};
#pragma GCC unroll 4
  for (size_t round = 1; round < LANES; round *= 2) {
    Floats next[LANES];
#pragma GCC unroll 8
    for (size_t row = 0; row < LANES / 2; row++) {
      next[2 * row] = interleave<0>(square[row], square[row + LANES / 2], kAll);
      next[2 * row + 1] = interleave<1>(square[row], square[row + LANES / 2], kAll);
    }
#pragma GCC unroll 16
    for (size_t row = 0; row < LANES; row++) square[row] = next[row];
  }
#pragma GCC unroll 16
  for (size_t row = 0; row < LANES; row++) V::store(to + row * width, square[row]);
}

}  // namespace
}  // namespace jinabert::attention
