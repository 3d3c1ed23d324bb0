// Which kernel this processor runs: the one place that knows them all.
#include "../cpu.h"
#include "kernels.h"

namespace jinabert::layers {
namespace {

// All that this processor has, the best last.
struct Table {
  Kernel kernels[kMostKernels];
  size_t count = 0;

  Table() {
#if defined(__x86_64__)
    const Cpu& cpu = this_cpu();
    if (cpu.avx2) kernels[count++] = avx2_kernel();
    if (cpu.avx_vnni) kernels[count++] = avx_vnni_kernel();
    if (cpu.avx512_vnni) kernels[count++] = avx512_vnni_kernel();
#elif defined(__aarch64__)
    if (this_cpu().neon_dot) kernels[count++] = neon_dot_kernel();
#endif
  }
};

const Table& table() {
  static const Table all;
  return all;
}

}  // namespace

const Kernel* choose_kernel(size_t hidden_size) {
  const bool fits = hidden_size && hidden_size % kPanel == 0;
  return fits && table().count && !this_cpu().amx_int8 ? &table().kernels[table().count - 1] : nullptr;
}

size_t list_kernels(const Kernel* kernels[kMostKernels]) {
  for (size_t i = 0; i < table().count; i++) kernels[i] = &table().kernels[i];
  return table().count;
}

}  // namespace jinabert::layers
