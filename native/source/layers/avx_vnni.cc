#include <immintrin.h>

#include "compute.h"
#include "kernels.h"

namespace jinabert::layers {
namespace {

struct AvxVnni {
  static constexpr size_t kLanes = 8, kRows = 6, kPanels = 1;
  static constexpr int kMiddle = 128;
  static constexpr bool kAdds16Bits = false;
  static constexpr size_t kBlockRows = 30;

  static Vectors<8>::Ints add(Vectors<8>::Ints sums, Vectors<8>::Ints bytes, Vectors<8>::Ints weights) {
    return (Vectors<8>::Ints)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)bytes, (__m256i)weights);
  }
};

}  // namespace

Kernel avx_vnni_kernel() { return kernel_of<AvxVnni>("avx_vnni"); }

}  // namespace jinabert::layers
