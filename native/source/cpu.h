// What this processor, under this operating system, can execute.
#pragma once

namespace jinabert {

struct Cpu {
  bool avx2 = false;         // with FMA
  bool avx512 = false;       // F, BW, DQ and VL
  bool avx512_bf16 = false;  // with AVX-512
  bool amx_bf16 = false;     // with AVX-512 BF16, and the operating system's permission
  bool intel = false;
};

const Cpu& this_cpu();

}  // namespace jinabert
