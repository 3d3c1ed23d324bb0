#include "attend.h"
#include "bfloat16_amx.h"
#include "kernels.h"

namespace jinabert::attention {

Kernel amx_bf16_kernel(size_t head_size) { return kernel_of<Bfloat16Amx>("amx_bf16", head_size); }

}  // namespace jinabert::attention
