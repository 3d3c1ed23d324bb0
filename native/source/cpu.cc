#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstring>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace jinabert {
namespace {

#if defined(__x86_64__)
bool has_bit(unsigned value, unsigned bit) { return (value >> bit) & 1; }

// Which registers the operating system saves for a thread; asked only where OSXSAVE says that it may be.
unsigned saved_registers() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Linux lets a process use the tile unit once it has asked; the state that a thread must save grows by it.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM; a bit of XCR0
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool is_intel() {
  unsigned a, name[3];
  return __get_cpuid(0, &a, &name[0], &name[2], &name[1]) && !std::memcmp(name, "GenuineIntel", sizeof name);
}

Cpu detect() {
  constexpr unsigned kVectors = 0x06, kWideVectors = 0xe6, kTiles = 0x60000;  // bits of XCR0
  Cpu cpu;
  cpu.intel = is_intel();
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has_bit(c, 27)) return cpu;  // OSXSAVE
  const unsigned saved = saved_registers();
  const bool fma = has_bit(c, 12);
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return cpu;
  cpu.avx2 = fma && has_bit(b, 5) && (saved & kVectors) == kVectors;
  const bool all_parts = has_bit(b, 16) && has_bit(b, 17) && has_bit(b, 30) && has_bit(b, 31);  // F, DQ, BW, VL
  cpu.avx512 = cpu.avx2 && all_parts && (saved & kWideVectors) == kWideVectors;
  cpu.avx512_vnni = cpu.avx512 && has_bit(c, 11);
  const bool tiles = has_bit(d, 24) && (saved & kTiles) == kTiles;  // AMX-TILE
  const bool tiles_of_bfloat16 = tiles && has_bit(d, 22), tiles_of_bytes = tiles && has_bit(d, 25);
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return cpu;
  cpu.avx_vnni = cpu.avx2 && has_bit(a, 4);
  cpu.avx512_bf16 = cpu.avx512 && has_bit(a, 5);
  cpu.amx_bf16 = cpu.avx512_bf16 && tiles_of_bfloat16 && may_use_tiles();
  cpu.amx_int8 = cpu.avx512 && tiles_of_bytes;
  return cpu;
}
#elif defined(__aarch64__) && defined(__linux__)
Cpu detect() {
  constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
  Cpu cpu;
  cpu.neon_dot = getauxval(AT_HWCAP) & kDotProduct;
  return cpu;
}
#elif defined(__aarch64__) && defined(__APPLE__)
Cpu detect() {  // all of Apple's have it
  Cpu cpu;
  cpu.neon_dot = true;
  return cpu;
}
#else
Cpu detect() { return Cpu(); }
#endif

}  // namespace

const Cpu& this_cpu() {
  static const Cpu cpu = detect();
  return cpu;
}

}  // namespace jinabert
