#include "attend.h"
#include "bfloat16_avx512.h"
#include "kernels.h"

namespace jinabert::attention {

Kernel avx512_bf16_kernel(size_t head_size) { return kernel_of<Bfloat16Avx512>("avx512_bf16", head_size); }

}  // namespace jinabert::attention
