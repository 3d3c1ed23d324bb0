#include "attend.h"
#include "float32.h"
#include "kernels.h"

namespace jinabert::attention {

Kernel avx2_kernel(size_t head_size) { return kernel_of<Float32<8, 2>>("avx2", head_size); }

}  // namespace jinabert::attention
