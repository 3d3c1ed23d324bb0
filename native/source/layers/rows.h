// What is done to one row at a time: rounding to bytes, layer normalisation, the activation.
#pragma once

#include "../lanes.h"

namespace jinabert::layers {
namespace {

// Of numbers that are not negative, compared as integers: what is no number counts as larger than all, and is not lost.
template <typename V>
typename V::Ints larger_of(typename V::Ints a, typename V::Ints b) {
  return a > b ? a : b;
}

// The largest |x|, of x (count) times `smoothing` unless that is null.
template <typename V>
float largest_in_row(const float* x, const float* smoothing, size_t count) {
  using Ints = typename V::Ints;
  constexpr size_t kLanes = sizeof(Ints) / sizeof(int32_t);
  Ints largest{};
  for (size_t i = 0; i < count; i += kLanes)
    largest = larger_of<V>(largest, (Ints)V::absolute(smoothing ? V::load(x + i) * V::load(smoothing + i) : V::load(x + i)));
  int32_t bits = 0;
  for (size_t i = 0; i < kLanes; i++) bits = largest[i] > bits ? largest[i] : bits;
  float size;
  memcpy(&size, &bits, sizeof size);
  return size;
}

// Rounds x (count), times `smoothing` unless that is null, to bytes around MIDDLE; returns the largest |x|.
//
// As the operators in the bundle do it: times the reciprocal, then by 127, which compilers join with the sum that follows:
// one of a million bytes is another. Adding 1.5 * 2^23 leaves no bits for the fraction, and the whole number in the lowest
// ones. A row of zeros becomes zeros.
template <typename V, int MIDDLE>
float quantize_row(const float* x, const float* smoothing, size_t count, uint8_t* bytes) {
  using Floats = typename V::Floats;
  constexpr size_t kLanes = sizeof(Floats) / sizeof(float);
  const float size = largest_in_row<V>(x, smoothing, count);
  const float reciprocal = size != 0.0f ? 1.0f / size : 0.0f;
  const Floats shift = V::all(12582912.0f + MIDDLE);
  for (size_t i = 0; i < count; i += kLanes) {
    const Floats value = smoothing ? V::load(x + i) * V::load(smoothing + i) : V::load(x + i);
    V::store_lowest_bytes(bytes + i, (typename V::Bits)((value * reciprocal) * 127.0f + shift));
  }
  return size;
}

// Normalises x (count) in place.
template <typename V>
void normalize_row(float* x, const float* weight, const float* bias, float epsilon, size_t count) {
  using Floats = typename V::Floats;
  constexpr size_t kLanes = sizeof(Floats) / sizeof(float);
  Floats sum{}, squares{};
  for (size_t i = 0; i < count; i += kLanes) sum += V::load(x + i);
  const Floats mean = V::all(V::sum_of(sum) / static_cast<float>(count));
  for (size_t i = 0; i < count; i += kLanes) {
    const Floats apart = V::load(x + i) - mean;
    squares += apart * apart;
  }
  const float deviation = __builtin_sqrtf(V::sum_of(squares) / static_cast<float>(count) + epsilon);
  const Floats factor = V::all(1.0f / deviation);
  for (size_t i = 0; i < count; i += kLanes)
    V::store(x + i, (V::load(x + i) - mean) * factor * V::load(weight + i) + V::load(bias + i));
}

// x times the share of a normal distribution below x, to 1.3e-6: x (1/2 + c P(c^2)) with c = x within 5.
//
// P is the polynomial of degree 12 whose largest error, times x, is smallest on [0, 25], in t = 2 c^2 / 25 - 1.
template <typename V>
typename V::Floats gelu(typename V::Floats x) {
  using Floats = typename V::Floats;
  constexpr float kCoefficients[] = {0.141363788f,   -0.0702962806f, 0.0515205224f,  -0.0404426072f, 0.0314421711f,
                                     -0.023268654f,  0.0164021799f,  -0.0111643359f, 0.00641049921f, -0.00268557872f,
                                     0.00172280999f, -0.00161326369f, 0.000608723575f};
  const Floats c = V::at_most(V::at_least(x, -5.0f), 5.0f);
  const Floats t = c * c * (2.0f / 25.0f) - 1.0f;
  Floats p = V::all(kCoefficients[12]);
#pragma GCC unroll 12
  for (int i = 11; i >= 0; i--) p = p * t + kCoefficients[i];
  return x * (c * p + 0.5f);
}

template <typename V>
typename V::Floats relu(typename V::Floats x) {
  return x < V::all(0.0f) ? V::all(0.0f) : x;  // what is no number stays
}

}  // namespace
}  // namespace jinabert::layers
