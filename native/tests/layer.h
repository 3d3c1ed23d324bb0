// Random weights of a layer as a file holds them, packed for a kernel, and rows to compute.
#pragma once

#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "layers/packing.h"
#include "standard_threads.h"

namespace jinabert::test {

// A weight (depth, columns) whose bytes are as the exporter makes them: neighbours of one sign add up to at most 128.
struct Weight {
  size_t depth, columns;
  std::vector<int8_t> bytes;
  std::vector<float> scales, biases;

  Weight(size_t the_depth, size_t the_columns, unsigned seed)
      : depth(the_depth), columns(the_columns), bytes(depth * columns), scales(columns), biases(columns) {
    std::mt19937 random(seed);
    for (size_t row = 0; row < depth; row += 2)
      for (size_t column = 0; column < columns; column++) {
        int a = static_cast<int>(random() % 255) - 127, b = static_cast<int>(random() % 255) - 127;
        if (random() % 8 == 0) a = b = random() % 2 ? 64 : -64;  // as far as a pair goes
        if ((a > 0) == (b > 0) && std::abs(a) + std::abs(b) > 128) b = (b > 0 ? 1 : -1) * (128 - std::abs(a));
        bytes[row * columns + column] = static_cast<int8_t>(a);
        bytes[(row + 1) * columns + column] = static_cast<int8_t>(b);
      }
    const float typical = 1.0f / (50.0f * std::sqrt(static_cast<float>(depth)));
    for (float& scale : scales) scale = typical * (0.5f + static_cast<float>(random() % 1000) / 1000.0f);
    for (float& bias : biases) bias = static_cast<float>(random() % 1000) / 5000.0f - 0.1f;
  }

  layers::StoredMatrix stored(bool with_biases = true) const {
    return {bytes.data(), scales.data(), with_biases ? biases.data() : nullptr, depth, columns, columns};
  }
};

// A packed matrix, and the memory that it is in.
struct Packed {
  std::vector<char> memory;
  layers::Matrix matrix;
  bool fits_16_bits = false;

  Packed(std::vector<layers::StoredMatrix> stored, int middle) : memory(layers::packed_bytes(stored[0], stored.size()) + 64) {
    StandardThreads threads(2);
    const auto address = reinterpret_cast<uintptr_t>(memory.data());
    matrix = layers::pack(stored.data(), stored.size(), middle, reinterpret_cast<char*>((address + 63) / 64 * 64), threads, &fits_16_bits);
  }
};

inline std::vector<float> random_floats(size_t count, float middle, float deviation, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(middle, deviation);
  std::vector<float> floats(count);
  for (float& x : floats) x = normal(random);
  return floats;
}

// Both sides of attention, of a model of this size.
struct Layer {
  size_t hidden_size, width;
  Weight query, key, value, output, gate, up, down;
  std::vector<float> smoothing, norm_weight, norm_bias;

  Layer(size_t the_hidden_size, size_t the_width, unsigned seed = 1)
      : hidden_size(the_hidden_size), width(the_width), query(hidden_size, hidden_size, seed), key(hidden_size, hidden_size, seed + 1),
        value(hidden_size, hidden_size, seed + 2), output(hidden_size, hidden_size, seed + 3), gate(hidden_size, width, seed + 4),
        up(hidden_size, width, seed + 5), down(width, hidden_size, seed + 6), smoothing(random_floats(hidden_size, 1.0f, 0.1f, seed)),
        norm_weight(random_floats(hidden_size, 1.0f, 0.1f, seed + 1)), norm_bias(random_floats(hidden_size, 0.0f, 0.1f, seed + 2)) {}

  layers::Norm norm() const { return {norm_weight.data(), norm_bias.data()}; }
};

// A layer's weights as one kernel reads them.
struct PackedLayer {
  Packed query, key, value, output, gate_up, down;
  layers::Projection projection;
  layers::AfterAttention after_attention;

  PackedLayer(const Layer& layer, int middle, bool normalized, layers::Activation activation = layers::Activation::kGelu)
      : query({layer.query.stored()}, middle), key({layer.key.stored(normalized)}, middle), value({layer.value.stored(false)}, middle),
        output({layer.output.stored()}, middle), gate_up({layer.gate.stored(false), layer.up.stored(false)}, middle),
        down({layer.down.stored()}, middle) {
    const layers::Norm norm = normalized ? layer.norm() : layers::Norm{nullptr, nullptr};
    projection = {layer.hidden_size, layer.smoothing.data(), {query.matrix, key.matrix, value.matrix}, {norm, norm, {nullptr, nullptr}}, 1e-12f};
    after_attention = {layer.hidden_size, layer.width, output.matrix, layer.norm(), norm, layer.smoothing.data(), gate_up.matrix,
                       activation, down.matrix, layer.norm(), 1e-12f};
  }
};

// Memory that begins at a multiple of kAlignment.
struct Aligned {
  std::vector<char> memory;

  explicit Aligned(size_t bytes) : memory(bytes + layers::kAlignment) {}
  char* data() {
    const auto address = reinterpret_cast<uintptr_t>(memory.data());
    return memory.data() + ((address + layers::kAlignment - 1) / layers::kAlignment * layers::kAlignment - address);
  }
};

// Query, key and value (rows, hidden size) each, one after the other.
inline std::vector<float> project(const layers::Kernel& kernel, const layers::Projection& weights, const std::vector<float>& hidden,
                                  size_t threads) {
  const size_t rows = hidden.size() / weights.hidden_size;
  std::vector<float> outputs(3 * hidden.size());
  StandardThreads pool(threads);
  Aligned scratch(kernel.projection_scratch(weights, rows, threads));
  float* const out = outputs.data();
  kernel.project(weights, {hidden.data(), {out, out + hidden.size(), out + 2 * hidden.size()}, rows}, {scratch.data(), threads, pool});
  return outputs;
}

inline std::vector<float> finish(const layers::Kernel& kernel, const layers::AfterAttention& weights, const std::vector<float>& context,
                                 const std::vector<float>& hidden, size_t threads) {
  const size_t rows = hidden.size() / weights.hidden_size;
  std::vector<float> output(hidden.size());
  StandardThreads pool(threads);
  Aligned scratch(kernel.after_attention_scratch(weights, rows, threads));
  kernel.finish(weights, {context.data(), hidden.data(), output.data(), rows}, {scratch.data(), threads, pool});
  return output;
}

}  // namespace jinabert::test
