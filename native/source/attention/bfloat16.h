// bfloat16 in pairs: how factors are converted and packed for products that take two steps of the depth at once.
//
// For int8 bundles only. Sums are float32, as with `Float32`.
#pragma once

#include <immintrin.h>

#include "../lanes.h"

namespace jinabert::attention {
namespace {

struct Bfloat16Pairs {
  using Element = uint16_t;
  static constexpr size_t kLanes = 16;
  // Relative to the length of the vectors: 2^-8, for both factors of a score are rounded to 8 bits, and that of float32.
  static constexpr float kRadiusMargin = 4e-3f;
  static constexpr int kExponentialDegree = 4;  // weights are rounded to 8 bits anyway

  static void store(Element* to, __m512 x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x));
  }

  static void convert(Element* to, const float* from, size_t count) {
    for (size_t i = 0; i < count; i += kLanes) store(to + i, _mm512_loadu_ps(from + i));
  }

  // keys: (count, channels apart by `stride`) -> (HEAD_SIZE / 2, ROW keys, 2), zeros behind the last.
  template <size_t HEAD_SIZE, size_t ROW>
  static void pack_keys(Element* to, const float* keys, size_t stride, size_t count) {
    uint32_t* pairs = reinterpret_cast<uint32_t*>(to);
    for (size_t key = 0; key < ROW; key++) {
      alignas(64) uint32_t own[HEAD_SIZE / 2] = {};
      if (key < count) convert(reinterpret_cast<Element*>(own), keys + key * stride, HEAD_SIZE);
      for (size_t pair = 0; pair < HEAD_SIZE / 2; pair++) pairs[pair * ROW + key] = own[pair];
    }
  }

  // values: (count, channels apart by `stride`) -> (ROW / 2, HEAD_SIZE, 2), zeros behind the last.
  template <size_t HEAD_SIZE, size_t ROW>
  static void pack_values(Element* to, const float* values, size_t stride, size_t count) {
    for (size_t key = 0; key < ROW; key += 2)
      for (size_t channel = 0; channel < HEAD_SIZE; channel += kLanes) {
        const __m512 even = key < count ? _mm512_loadu_ps(values + key * stride + channel) : _mm512_setzero_ps();
        const __m512 odd = key + 1 < count ? _mm512_loadu_ps(values + (key + 1) * stride + channel) : _mm512_setzero_ps();
        _mm512_storeu_si512(to + key * HEAD_SIZE + 2 * channel, side_by_side(even, odd));
      }
  }

 private:
  // Lane k: `even`'s as the lower half, `odd`'s as the upper.
  static __m512i side_by_side(__m512 even, __m512 odd) {
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  }
};

}  // namespace
}  // namespace jinabert::attention
