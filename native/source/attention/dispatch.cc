// Which kernel this processor runs: the one place that knows them all.
#include "../cpu.h"
#include "kernels.h"

namespace jinabert::attention {
namespace {

// All that this processor has for a head size, and of them the best of each precision; null where there is none.
struct Table {
  Kernel kernels[kMostKernels];
  size_t count = 0;
  const Kernel* bfloat16 = nullptr;
  const Kernel* float32 = nullptr;

  explicit Table(size_t head_size);
  Table(const Table&) = delete;

  const Kernel* add(const Kernel& kernel) {
    kernels[count] = kernel;
    return &kernels[count++];
  }
};

Table::Table(size_t head_size) {
#if defined(__x86_64__)
  const Cpu& cpu = this_cpu();
  if (cpu.avx2) float32 = add(avx2_kernel(head_size));
  if (cpu.avx512) float32 = add(avx512_kernel(head_size));
  bfloat16 = float32;
  if (cpu.avx512_bf16) {
    // Intel's processors start one vdpbf16ps a cycle and two float32 products: no gain, and rows to be converted.
    const Kernel* kernel = add(avx512_bf16_kernel(head_size));
    if (!cpu.intel) bfloat16 = kernel;
  }
  if (cpu.amx_bf16) bfloat16 = add(amx_bf16_kernel(head_size));
#elif defined(__aarch64__)
  bfloat16 = float32 = add(neon_kernel(head_size));  // NEON is part of the architecture
#else
  (void)head_size;
#endif
}

const Table* find_table(size_t head_size) {
  static const Table of_32(32), of_64(64);
  return head_size == 32 ? &of_32 : head_size == 64 ? &of_64 : nullptr;
}

}  // namespace

const Kernel* choose_kernel(size_t head_size, Precision precision) {
  const Table* table = find_table(head_size);
  if (!table) return nullptr;
  return precision == Precision::kBfloat16 ? table->bfloat16 : table->float32;
}

size_t list_kernels(size_t head_size, const Kernel* kernels[kMostKernels]) {
  const Table* table = find_table(head_size);
  if (!table) return 0;
  for (size_t i = 0; i < table->count; i++) kernels[i] = &table->kernels[i];
  return table->count;
}

}  // namespace jinabert::attention
