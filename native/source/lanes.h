// Vectors of floats and integers in the compiler's own extension, so that one source serves AVX-512, AVX2 and NEON.
//
// Everything in the files that a kernel includes has internal linkage, and no standard container or algorithm is used:
// the linker keeps one copy of a function that several files share, and if it kept the one compiled for AVX-512, a
// processor without it would run that.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace jinabert {
namespace {

inline size_t least(size_t a, size_t b) { return a < b ? a : b; }
inline size_t divide_up(size_t a, size_t b) { return (a + b - 1) / b; }
inline size_t round_up(size_t a, size_t b) { return divide_up(a, b) * b; }

// The types are written out: GCC 12 forgets a vector's size that depends on a template's parameter.
template <size_t LANES>
struct Types;

template <>
struct Types<4> {
  typedef float Floats __attribute__((vector_size(16)));
  typedef uint32_t Bits __attribute__((vector_size(16)));
  typedef int32_t Ints __attribute__((vector_size(16)));
  typedef float Anywhere __attribute__((vector_size(16), aligned(4), may_alias));
  typedef int32_t IntsAnywhere __attribute__((vector_size(16), aligned(4), may_alias));
  typedef uint8_t Bytes __attribute__((vector_size(4)));
  typedef uint8_t BytesAnywhere __attribute__((vector_size(4), aligned(1), may_alias));
};

template <>
struct Types<8> {
  typedef float Floats __attribute__((vector_size(32)));
  typedef uint32_t Bits __attribute__((vector_size(32)));
  typedef int32_t Ints __attribute__((vector_size(32)));
  typedef float Anywhere __attribute__((vector_size(32), aligned(4), may_alias));
  typedef int32_t IntsAnywhere __attribute__((vector_size(32), aligned(4), may_alias));
  typedef uint8_t Bytes __attribute__((vector_size(8)));
  typedef uint8_t BytesAnywhere __attribute__((vector_size(8), aligned(1), may_alias));
};

template <>
struct Types<16> {
  typedef float Floats __attribute__((vector_size(64)));
  typedef uint32_t Bits __attribute__((vector_size(64)));
  typedef int32_t Ints __attribute__((vector_size(64)));
  typedef float Anywhere __attribute__((vector_size(64), aligned(4), may_alias));
  typedef int32_t IntsAnywhere __attribute__((vector_size(64), aligned(4), may_alias));
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  typedef uint8_t BytesAnywhere __attribute__((vector_size(16), aligned(1), may_alias));
};

template <size_t LANES>
struct Vectors : Types<LANES> {
  using typename Types<LANES>::Floats;
  using typename Types<LANES>::Bits;
  using typename Types<LANES>::Ints;
  using typename Types<LANES>::Bytes;
  using typename Types<LANES>::Anywhere;
  using typename Types<LANES>::IntsAnywhere;
  using typename Types<LANES>::BytesAnywhere;

  static Floats load(const float* from) { return *reinterpret_cast<const Anywhere*>(from); }
  static void store(float* to, Floats x) { *reinterpret_cast<Anywhere*>(to) = x; }
  static Ints load_ints(const int32_t* from) { return *reinterpret_cast<const IntsAnywhere*>(from); }
  static void store_ints(int32_t* to, Ints x) { *reinterpret_cast<IntsAnywhere*>(to) = x; }
  static Floats to_floats(Ints x) { return __builtin_convertvector(x, Floats); }
  static void store_lowest_bytes(uint8_t* to, Bits x) {
    *reinterpret_cast<BytesAnywhere*>(to) = __builtin_convertvector(x, Bytes);
  }
  static Floats all(float x) { return Floats{} + x; }

  // The larger lanes; where a lane of `a` is no number, b's.
  static Floats larger(Floats a, Floats b) { return a > b ? a : b; }
  static Floats at_least(Floats x, float least) { return x < all(least) ? all(least) : x; }
  static Floats at_most(Floats x, float most) { return x > all(most) ? all(most) : x; }
  static Floats absolute(Floats x) { return (Floats)((Bits)x & 0x7fffffff); }

  static float largest_of(Floats x) {
    float largest = x[0];
    for (size_t i = 1; i < LANES; i++) largest = x[i] > largest ? x[i] : largest;
    return largest;
  }
  static float sum_of(Floats x) {
    float lanes[LANES];
    store(lanes, x);
    for (size_t half = LANES / 2; half; half /= 2)
      for (size_t i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
  }

  // 2^x for x up to 126, and 2^-126 for what is smaller: with DEGREE 6 to one part in 10^7, with 4 in 10^4.
  //
  // x = n + f with n whole and |f| at most 1/2. Adding 1.5 * 2^23 leaves no bits for f, so n stands in the lowest bits
  // of the sum; 2^f is Taylor's polynomial, and n is added to its exponent.
  template <int DEGREE = 6>
  static Floats exp2(Floats x) {
    const Floats shift = all(12582912.0f);
    x = at_least(x, -126.0f);
    const Floats shifted = x + shift;
    const Floats f = x - (shifted - shift);
    Floats power = all(DEGREE == 6 ? 1.5403530393381609e-4f : 9.6181291076284772e-3f);
    if constexpr (DEGREE == 6) {
      power = power * f + 1.3333558146428443e-3f;
      power = power * f + 9.6181291076284772e-3f;
    }
    power = power * f + 5.5504108664821580e-2f;
    power = power * f + 2.4022650695910072e-1f;
    power = power * f + 6.9314718055994531e-1f;
    power = power * f + 1.0f;
    return (Floats)((Bits)power + (((Bits)shifted - (Bits)shift) << 23));
  }
};

}  // namespace
}  // namespace jinabert
