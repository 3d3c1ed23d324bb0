// What this processor, under this operating system, can execute.
#pragma once

namespace jinabert {

struct Cpu {
  bool avx2 = false;         // with FMA
  bool avx512 = false;       // F, BW, DQ and VL
  bool avx512_bf16 = false;  // with AVX-512
  bool amx_bf16 = false;     // with AVX-512 BF16, and the operating system's permission
  bool avx_vnni = false;     // with AVX2
  bool avx512_vnni = false;  // with AVX-512
  bool amx_int8 = false;     // with AVX-512
  bool neon_dot = false;     // SDOT
  bool intel = false;
};

const Cpu& this_cpu();

}  // namespace jinabert
