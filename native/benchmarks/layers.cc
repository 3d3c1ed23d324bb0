// How long a layer's products, roundings and norms take without attention, of each kernel that this processor can run:
// medians, interleaved, for as many layers as fill the caches of a real model.
//
//   benchmark_layers [hidden size] [width] [layers] [threads] [rows ...]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>

#include "../tests/layer.h"

using namespace jinabert;
using namespace jinabert::layers;
using namespace jinabert::test;

namespace {

double seconds(const Kernel& kernel, const std::vector<std::unique_ptr<PackedLayer>>& all, const std::vector<float>& hidden, size_t threads,
               Parallel& pool) {
  const size_t rows = hidden.size() / all[0]->projection.hidden_size;
  std::vector<float> x = hidden, qkv(3 * hidden.size());
  Aligned first(kernel.projection_scratch(all[0]->projection, rows, threads));
  Aligned second(kernel.after_attention_scratch(all[0]->after_attention, rows, threads));
  float* const out = qkv.data();
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& layer : all) {
    kernel.project(layer->projection, {x.data(), {out, out + x.size(), out + 2 * x.size()}, rows}, {first.data(), threads, pool});
    kernel.finish(layer->after_attention, {out, x.data(), x.data(), rows}, {second.data(), threads, pool});
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int count, char** arguments) {
  auto number = [&](int place, size_t otherwise) { return count > place ? std::strtoul(arguments[place], nullptr, 10) : otherwise; };
  const size_t hidden_size = number(1, 768), width = number(2, 3072), layers = number(3, 12), threads = number(4, 2);
  std::vector<size_t> lengths;
  for (int i = 5; i < count; i++) lengths.push_back(number(i, 0));
  if (lengths.empty()) lengths = {16, 128, 512, 2048};
  const Kernel* kernels[kMostKernels];
  const size_t kernel_count = list_kernels(kernels);
  const Layer layer(hidden_size, width);
  StandardThreads pool(threads);
  for (size_t i = 0; i < kernel_count; i++) {
    std::vector<std::unique_ptr<PackedLayer>> all;
    for (size_t n = 0; n < layers; n++) all.push_back(std::make_unique<PackedLayer>(layer, kernels[i]->middle, false));
    for (size_t rows : lengths) {
      const std::vector<float> hidden = random_floats(rows * hidden_size, 0.0f, 1.0f, 1);
      std::vector<double> times;
      for (size_t round = 0, rounds = rows > 1000 ? 5 : rows > 100 ? 15 : 101; round < rounds; round++)
        times.push_back(seconds(*kernels[i], all, hidden, threads, pool));
      std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
      const double operations = 2.0 * static_cast<double>(rows * layers * hidden_size * (4 * hidden_size + 3 * width));
      const double median = times[times.size() / 2];
      std::printf("%6zu rows  %-12s %9.3f ms  %7.1f Gop/s\n", rows, kernels[i]->name, median * 1e3, operations / median / 1e9);
    }
  }
}
