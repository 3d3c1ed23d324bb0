// Products of rows of bytes and a packed weight, tile by tile.
//
// An Arithmetic is one instruction set's: Sums, a vector of 32-bit integers, kLanes of them; kRows and kPanels, the rows
// and panels of which registers hold all sums at a time; and add(sums, bytes, weights), which multiplies four bytes of a
// row by those of each lane's column and adds them to it.
#pragma once

#include "../lanes.h"
#include "problem.h"

namespace jinabert::layers {
namespace {

struct Span {
  size_t begin, end;

  size_t count() const { return end - begin; }
};

// Bytes of rows, `stride` bytes apart.
struct ByteRows {
  const uint8_t* data;
  size_t stride;
};

// sums (ROWS, kTile) = rows (ROWS, depth) times one tile. While it runs, memory from `next` on is brought to the second
// cache, as much as a tile takes, unless that is null: the tile that comes after, which otherwise would be waited for.
template <typename Arithmetic, size_t ROWS>
__attribute__((noinline)) void multiply_tile(ByteRows rows, const Matrix& matrix, size_t tile, const int8_t* next, int32_t* sums) {
  using V = Vectors<Arithmetic::kLanes>;
  using Ints = typename V::Ints;
  constexpr size_t kOfPanel = kPanel / Arithmetic::kLanes, kVectors = Arithmetic::kPanels * kOfPanel;
  const size_t panel_bytes = matrix.depth * kPanel, groups = matrix.depth / kGroup;
  for (size_t panel = 0; panel < kTile / kPanel; panel += Arithmetic::kPanels) {
    const int8_t* weights = matrix.panels + (tile * (kTile / kPanel) + panel) * panel_bytes;
    const int32_t* starts = matrix.starts + tile * kTile + panel * kPanel;
    Ints sum[ROWS][kVectors];
#pragma GCC unroll 8
    for (size_t row = 0; row < ROWS; row++)
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; v++) sum[row][v] = V::load_ints(starts + v * Arithmetic::kLanes);
    for (size_t group = 0; group < groups; group++, weights += kPanel * kGroup) {
      if (next)
#pragma GCC unroll 2
        for (size_t i = 0; i < Arithmetic::kPanels; i++) __builtin_prefetch(next + i * panel_bytes + group * kPanel * kGroup, 0, 2);
      Ints columns[kVectors];
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; v++) {
        const int8_t* from = weights + (v / kOfPanel) * panel_bytes + (v % kOfPanel) * Arithmetic::kLanes * kGroup;
        memcpy(&columns[v], from, sizeof(Ints));
      }
#pragma GCC unroll 8
      for (size_t row = 0; row < ROWS; row++) {
        int32_t four;
        memcpy(&four, rows.data + row * rows.stride + group * kGroup, sizeof four);
        const Ints bytes = Ints{} + four;
#pragma GCC unroll 4
        for (size_t v = 0; v < kVectors; v++) sum[row][v] = Arithmetic::add(sum[row][v], bytes, columns[v]);
      }
    }
    if (next) next += Arithmetic::kPanels * panel_bytes;
#pragma GCC unroll 8
    for (size_t row = 0; row < ROWS; row++)
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; v++)
        V::store_ints(sums + row * kTile + panel * kPanel + v * Arithmetic::kLanes, sum[row][v]);
  }
}

template <typename Arithmetic, size_t ROWS = Arithmetic::kRows>
void multiply_some_rows(size_t count, ByteRows rows, const Matrix& matrix, size_t tile, const int8_t* next, int32_t* sums) {
  if constexpr (ROWS > 1)
    if (count < ROWS) return multiply_some_rows<Arithmetic, ROWS - 1>(count, rows, matrix, tile, next, sums);
  multiply_tile<Arithmetic, ROWS>(rows, matrix, tile, next, sums);
}

// Multiplies `count` rows by the tiles of a weight; use(tile, rows, sums) gets the sums (rows, kTile) of some rows of one.
// Rows are shared out evenly: 9 of at most 8 at a time are 4 and 5.
template <typename Arithmetic, typename Use>
void multiply(ByteRows rows, size_t count, const Matrix& matrix, Span tiles, const Use& use) {
  alignas(64) int32_t sums[Arithmetic::kRows * kTile];
  const size_t parts = divide_up(count, Arithmetic::kRows);
  for (size_t tile = tiles.begin; tile < tiles.end; tile++)
    for (size_t part = 0; part < parts; part++) {
      const Span some{count * part / parts, count * (part + 1) / parts};
      const int8_t* next = part ? nullptr : matrix.panels + (tile + 1) * kTile * matrix.depth;
      multiply_some_rows<Arithmetic>(some.count(), {rows.data + some.begin * rows.stride, rows.stride}, matrix, tile, next, sums);
      use(tile, some, sums);
    }
}

}  // namespace
}  // namespace jinabert::layers
