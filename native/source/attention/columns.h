// A product in columns of vectors: as many at a time as registers hold sums of, then single ones for what is left.
#pragma once

#include "../lanes.h"

namespace jinabert::attention {
namespace {

// result (ROWS, width) = a (ROWS, depth) b (depth, width), added to what is there if ADD. `width` is a multiple of
// kLanes, `depth` of kSteps, the steps of the depth that stand side by side in b; b and result have rows of `width_of_b`
// and `width_of_result`. Each part is Microkernel::multiply_columns<ROWS, VECTORS, ADD>.
template <typename Microkernel, size_t ROWS, bool ADD>
void multiply_in_columns(const typename Microkernel::Element* a, size_t width_of_a,
                         const typename Microkernel::Element* b, size_t width_of_b, float* result,
                         size_t width_of_result, size_t depth, size_t width) {
  constexpr size_t kSteps = Microkernel::kSteps, kLanes = Microkernel::kLanes, kColumns = Microkernel::kColumns;
  size_t column = 0;
  for (; column + kColumns * kLanes <= width; column += kColumns * kLanes)
    Microkernel::template multiply_columns<ROWS, kColumns, ADD>(a, width_of_a, b + kSteps * column, width_of_b,
                                                                result + column, width_of_result, depth);
  for (; column < width; column += kLanes)
    Microkernel::template multiply_columns<ROWS, 1, ADD>(a, width_of_a, b + kSteps * column, width_of_b,
                                                         result + column, width_of_result, depth);
}

}  // namespace
}  // namespace jinabert::attention
