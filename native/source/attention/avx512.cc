#include "attend.h"
#include "float32.h"
#include "kernels.h"

namespace jinabert::attention {

Kernel avx512_kernel(size_t head_size) { return kernel_of<Float32<16, 4>>("avx512", head_size); }

}  // namespace jinabert::attention
