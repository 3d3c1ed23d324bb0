#include <immintrin.h>

#include "compute.h"
#include "kernels.h"

namespace jinabert::layers {
namespace {

struct Avx512Vnni {
  static constexpr size_t kLanes = 16, kRows = 8, kPanels = 2;
  static constexpr int kMiddle = 128;
  static constexpr bool kAdds16Bits = false;
  static constexpr size_t kBlockRows = 32;

  static Vectors<16>::Ints add(Vectors<16>::Ints sums, Vectors<16>::Ints bytes, Vectors<16>::Ints weights) {
    return (Vectors<16>::Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)bytes, (__m512i)weights);
  }
};

}  // namespace

Kernel avx512_vnni_kernel() { return kernel_of<Avx512Vnni>("avx512_vnni"); }

}  // namespace jinabert::layers
