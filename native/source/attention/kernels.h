// The kernels, one for an instruction set: each is compiled with its own flags, and called only where they are met.
#pragma once

#include "problem.h"

namespace jinabert::attention {

Kernel amx_bf16_kernel(size_t head_size);
Kernel avx512_bf16_kernel(size_t head_size);
Kernel avx512_kernel(size_t head_size);
Kernel avx2_kernel(size_t head_size);
Kernel neon_kernel(size_t head_size);

}  // namespace jinabert::attention
