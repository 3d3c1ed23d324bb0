// Packs the keys and values of one head of one text, and measures the keys of each block for the certificate.
#pragma once

#include "blocks.h"
#include "problem.h"

namespace jinabert::attention {
namespace {

template <typename Arithmetic, size_t HEAD_SIZE>
struct Packing {
  using V = Vectors<Arithmetic::kLanes>;
  using Floats = typename V::Floats;
  using PackedBlocks = Blocks<typename Arithmetic::Element, HEAD_SIZE>;
  static constexpr size_t kVectors = HEAD_SIZE / Arithmetic::kLanes;

  // Packs block `block` of the head whose first channel is `channel`, of the text in rows [first, end).
  static void pack(const Problem& problem, size_t first, size_t end, size_t channel, const PackedBlocks& to, size_t block) {
    const size_t row = first + block * kBlock, count = least(kBlock, end - row);
    const float* keys = problem.key + row * problem.channels + channel;
    const float* values = problem.value + row * problem.channels + channel;
    Arithmetic::template pack_keys<HEAD_SIZE, kBlock>(to.keys(block), keys, problem.channels, count);
    Arithmetic::template pack_values<HEAD_SIZE, kBlock>(to.values(block), values, problem.channels, count);
    float* positions = to.block_positions(block);
    for (size_t key = 0; key < kBlock; key++) positions[key] = key < count ? problem.positions[row + key] : kNowhere;
    measure(keys, problem.channels, count, to.centre(block), &to.radii[block]);
  }

 private:
  // The mean of the keys, and a distance from it that none of them exceeds.
  static void measure(const float* keys, size_t stride, size_t count, float* centre, float* radius) {
    Floats mean[kVectors] = {};
    for (size_t key = 0; key < count; key++)
      for (size_t v = 0; v < kVectors; v++) mean[v] += V::load(keys + key * stride + v * Arithmetic::kLanes);
    Floats squares{};
    for (size_t v = 0; v < kVectors; v++) {
      mean[v] *= 1.0f / static_cast<float>(count);
      V::store(centre + v * Arithmetic::kLanes, mean[v]);
      squares += mean[v] * mean[v];
    }
    const float length = sqrtf(V::sum_of(squares));
    float farthest = 0.0f;
    for (size_t key = 0; key < count; key++) {
      Floats apart{};
      for (size_t v = 0; v < kVectors; v++) {
        const Floats difference = V::load(keys + key * stride + v * Arithmetic::kLanes) - mean[v];
        apart += difference * difference;
      }
      const float distance = V::sum_of(apart);
      farthest = distance > farthest ? distance : farthest;
    }
    farthest = sqrtf(farthest);
    *radius = farthest + Arithmetic::kRadiusMargin * (farthest + length);
  }
};

}  // namespace
}  // namespace jinabert::attention
