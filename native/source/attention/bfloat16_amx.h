// Products of bfloat16 pairs with AMX: tdpbf16ps multiplies a tile of 16 rows and 32 steps of the depth with one of as
// many steps and 16 columns, and adds the products to a tile of 16 x 16 sums.
#pragma once

#include "bfloat16.h"

namespace jinabert::attention {
namespace {

struct Bfloat16Amx : Bfloat16Pairs {
  static constexpr size_t kTileRows = 16;
  static constexpr size_t kKeys = 32;
  static constexpr bool kWholeTiles = true;  // rows that are not there are computed too, and not looked at

  // Switches the tile unit on for a thread, all 8 tiles with 16 rows of 64 bytes, until the end of the block. It is
  // off in between: other code on the thread configures tiles for itself, and a switched on unit has 8 KB of state to
  // be saved at every change of threads.
  class Unit {
   public:
    Unit() {
      alignas(64) Configuration configuration{};
      configuration.palette = 1;
      for (size_t tile = 0; tile < 8; tile++) configuration.row_bytes[tile] = 64, configuration.rows[tile] = kTileRows;
      _tile_loadconfig(&configuration);
    }
    ~Unit() { _tile_release(); }
    Unit(const Unit&) = delete;
    Unit& operator=(const Unit&) = delete;

   private:
    struct Configuration {
      uint8_t palette, start_row, reserved[14];
      uint16_t row_bytes[16];
      uint8_t rows[16];
    };
  };

  // As multiply_in_columns, of 16 rows; `depth` is a multiple of 32.
  template <size_t ROWS, bool ADD>
  static void multiply(const Element* a, size_t width_of_a, const Element* b, size_t width_of_b, float* result,
                       size_t width_of_result, size_t depth, size_t width) {
    static_assert(ROWS == kTileRows);
    constexpr size_t kDepth = 32, kColumns = 16, kTiles = 4;
    const size_t a_bytes = width_of_a * sizeof(Element), b_bytes = 2 * width_of_b * sizeof(Element);
    const size_t result_bytes = width_of_result * sizeof(float);
    for (size_t column = 0; column < width; column += kTiles * kColumns) {
      const size_t tiles = least(kTiles, divide_up(width - column, kColumns));
      float* to = result + column;
      begin_sums<ADD>(tiles, to, result_bytes);
      for (size_t d = 0; d < depth; d += kDepth) {
        const Element* across = b + d * width_of_b + 2 * column;
        _tile_loadd(4, a + d, a_bytes);
        add_product<0>(across, b_bytes);
        if (tiles > 1) add_product<1>(across, b_bytes);
        if (tiles > 2) add_product<2>(across, b_bytes);
        if (tiles > 3) add_product<3>(across, b_bytes);
      }
      _tile_stored(0, to, result_bytes);
      if (tiles > 1) _tile_stored(1, to + kColumns, result_bytes);
      if (tiles > 2) _tile_stored(2, to + 2 * kColumns, result_bytes);
      if (tiles > 3) _tile_stored(3, to + 3 * kColumns, result_bytes);
    }
  }

 private:
  // Instructions name tiles by number: sums are 0 to 3, the rows' factors 4, the columns' factors 5 and 6 in turn.
  template <bool ADD>
  static void begin_sums(size_t tiles, const float* from, size_t bytes) {
    if constexpr (ADD) {
      _tile_loadd(0, from, bytes);
      if (tiles > 1) _tile_loadd(1, from + 16, bytes);
      if (tiles > 2) _tile_loadd(2, from + 32, bytes);
      if (tiles > 3) _tile_loadd(3, from + 48, bytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
  }

  template <int TILE>
  static void add_product(const Element* across, size_t bytes) {
    if constexpr (TILE == 0) {
      _tile_loadd(5, across, bytes);
      _tile_dpbf16ps(0, 4, 5);
    }
    if constexpr (TILE == 1) {
      _tile_loadd(6, across + 32, bytes);
      _tile_dpbf16ps(1, 4, 6);
    }
    if constexpr (TILE == 2) {
      _tile_loadd(5, across + 64, bytes);
      _tile_dpbf16ps(2, 4, 5);
    }
    if constexpr (TILE == 3) {
      _tile_loadd(6, across + 96, bytes);
      _tile_dpbf16ps(3, 4, 6);
    }
  }
};

}  // namespace
}  // namespace jinabert::attention
