// The kernels of each instruction set: each is compiled with its own flags, and called only where they are met.
#pragma once

#include "problem.h"

namespace jinabert::layers {

Kernel avx512_vnni_kernel();
Kernel avx_vnni_kernel();
Kernel avx2_kernel();
Kernel neon_dot_kernel();

}  // namespace jinabert::layers
