#include "attend.h"
#include "float32.h"
#include "kernels.h"

namespace jinabert::attention {

Kernel neon_kernel(size_t head_size) { return kernel_of<Float32<4, 4>>("neon", head_size); }

}  // namespace jinabert::attention
