#include <arm_neon.h>

#include "compute.h"
#include "kernels.h"

namespace jinabert::layers {
namespace {

struct NeonDot {
  static constexpr size_t kLanes = 4, kRows = 6, kPanels = 1;
  static constexpr int kMiddle = 0;  // the instruction multiplies signed bytes
  static constexpr bool kAdds16Bits = false;
  static constexpr size_t kBlockRows = 30;

  static Vectors<4>::Ints add(Vectors<4>::Ints sums, Vectors<4>::Ints bytes, Vectors<4>::Ints weights) {
    return (Vectors<4>::Ints)vdotq_s32((int32x4_t)sums, (int8x16_t)bytes, (int8x16_t)weights);
  }
};

}  // namespace

Kernel neon_dot_kernel() { return kernel_of<NeonDot>("neon_dot"); }

}  // namespace jinabert::layers
