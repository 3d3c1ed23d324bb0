// Random batches of packed texts, for tests and benchmarks.
#pragma once

#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "attention/problem.h"

namespace jinabert::test {

// The slopes of ALiBi for a power of 2 of heads, as the models have them: 2^(-8 i / heads).
inline std::vector<float> slopes_of(size_t heads) {
  std::vector<float> slopes;
  for (size_t head = 1; head <= heads; head++)
    slopes.push_back(static_cast<float>(std::exp2(-8.0 * static_cast<double>(head) / static_cast<double>(heads))));
  return slopes;
}

// Texts of these lengths, packed, with rows of padding at the end; `holes` leaves positions out, as masks do.
struct Batch {
  size_t heads, head_size, channels, rows;
  std::vector<float> query, key, value, slopes, positions;
  std::vector<int64_t> texts;

  Batch(const std::vector<size_t>& lengths, size_t heads_, size_t head_size_, float score_size, unsigned seed,
        bool holes = false, size_t padding = 3)
      : heads(heads_), head_size(head_size_), channels(heads_ * head_size_), slopes(slopes_of(heads_)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    rows = padding;
    for (size_t length : lengths) {
      texts.push_back(static_cast<int64_t>(positions.size()));
      float position = 0;
      for (size_t token = 0; token < length; token++) {
        positions.push_back(position);
        position += holes ? static_cast<float>(1 + random() % 3) : 1.0f;
      }
      texts.push_back(static_cast<int64_t>(positions.size()));
      rows += length;
    }
    // Neighbours resemble each other, as in a model: without that no certificate could leave anything out.
    std::vector<float> own(channels);
    for (size_t row = 0; row < rows; row++)
      for (size_t channel = 0; channel < channels; channel++) {
        own[channel] = 0.9f * own[channel] + normal(random) * 0.4f;
        query.push_back(score_size * normal(random));
        key.push_back(own[channel]);
        value.push_back(normal(random));
      }
  }

  attention::Problem problem(std::vector<float>* context) const {
    context->assign(rows * channels, std::nanf(""));
    return {query.data(), key.data(), value.data(), context->data(), rows, channels, heads, slopes.data(),
            1.0f / std::sqrt(static_cast<float>(head_size)), positions.data(), texts.data(), texts.size() / 2};
  }
};

inline std::vector<float> attend(const attention::Kernel& kernel, const Batch& batch, Parallel& parallel) {
  std::vector<float> context;
  const attention::Problem problem = batch.problem(&context);
  const size_t bytes = (kernel.scratch_bytes(problem) + attention::kAlignment - 1) / attention::kAlignment * attention::kAlignment;
  void* scratch = std::aligned_alloc(attention::kAlignment, bytes + attention::kAlignment);
  kernel.attend(problem, scratch, parallel);
  std::free(scratch);
  return context;
}

}  // namespace jinabert::test
