// The layers with products in plain C++, in as many lanes as each instruction set has: so that all but the one
// instruction of the widest kernels is tested on any processor.
#pragma once

#include <vector>

#include "layers/compute.h"

namespace jinabert::test {
namespace {

template <size_t LANES, size_t ROWS, size_t PANELS, int MIDDLE>
struct PlainLanes {
  static constexpr size_t kLanes = LANES, kRows = ROWS, kPanels = PANELS;
  static constexpr int kMiddle = MIDDLE;
  static constexpr bool kAdds16Bits = false;
  static constexpr size_t kBlockRows = 32;
  using Ints = typename Vectors<LANES>::Ints;

  static Ints add(Ints sums, Ints bytes, Ints weights) {
    for (size_t lane = 0; lane < LANES; lane++)
      for (int i = 0; i < 4; i++) {
        const int byte = MIDDLE ? static_cast<uint8_t>(bytes[lane] >> 8 * i) : static_cast<int8_t>(bytes[lane] >> 8 * i);
        sums[lane] += byte * static_cast<int8_t>(weights[lane] >> 8 * i);
      }
    return sums;
  }
};

inline std::vector<layers::Kernel> plain_kernels() {
  return {layers::kernel_of<PlainLanes<16, 8, 2, 128>>("plain, 16 lanes"), layers::kernel_of<PlainLanes<8, 6, 1, 128>>("plain, 8 lanes"),
          layers::kernel_of<PlainLanes<4, 6, 1, 0>>("plain, 4 lanes")};
}

}  // namespace
}  // namespace jinabert::test
