#include <immintrin.h>

#include "compute.h"
#include "kernels.h"

namespace jinabert::layers {
namespace {

// Two products are added in 16 bits before they are widened: exact for weights whose neighbours are within
// |a| + |b| <= 128 where they have one sign, as the exporter makes them.
struct Avx2 {
  static constexpr size_t kLanes = 8, kRows = 6, kPanels = 1;
  static constexpr int kMiddle = 128;
  static constexpr bool kAdds16Bits = true;
  static constexpr size_t kBlockRows = 30;

  static Vectors<8>::Ints add(Vectors<8>::Ints sums, Vectors<8>::Ints bytes, Vectors<8>::Ints weights) {
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)bytes, (__m256i)weights);
    return sums + (Vectors<8>::Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
};

}  // namespace

Kernel avx2_kernel() { return kernel_of<Avx2>("avx2"); }

}  // namespace jinabert::layers
