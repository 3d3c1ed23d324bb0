// Several runs at a time, each on several threads: for a thread sanitizer, and bit by bit against runs alone.
#include <cstring>

#include "batch.h"
#include "check.h"
#include "layer.h"
#include "standard_threads.h"

using namespace jinabert;
using namespace jinabert::test;

namespace {

void test_attention_at_a_time(const attention::Kernel& kernel, size_t head_size) {
  const Batch short_texts({5, 64, 1, 200}, 2, head_size, 1.0f, 1), long_text({700}, 2, head_size, 1.0f, 2);
  StandardThreads alone(1);
  const std::vector<float> right[] = {attend(kernel, short_texts, alone), attend(kernel, long_text, alone)};
  std::vector<float> found[4];
  std::vector<std::thread> callers;
  for (size_t caller = 0; caller < 4; caller++)
    callers.emplace_back([&, caller] {
      StandardThreads threads(2);
      found[caller] = attend(kernel, caller % 2 ? long_text : short_texts, threads);
    });
  for (std::thread& caller : callers) caller.join();
  for (size_t caller = 0; caller < 4; caller++)
    check(!std::memcmp(found[caller].data(), right[caller % 2].data(), right[caller % 2].size() * sizeof(float)),
          "%s: run %zu differs beside others", kernel.name, caller);
}

// Few rows, whose columns threads share, and many, of which each takes blocks.
void test_layers_at_a_time(const layers::Kernel& kernel) {
  const Layer layer(64, 96);
  const PackedLayer packed(layer, kernel.middle, true);
  const std::vector<float> rows[] = {random_floats(9 * 64, 0.0f, 1.0f, 1), random_floats(100 * 64, 0.0f, 1.0f, 2)};
  std::vector<float> right[2], projected[2], found[4], parts[4];
  for (size_t i = 0; i < 2; i++) {
    right[i] = finish(kernel, packed.after_attention, rows[i], rows[i], 1);
    projected[i] = project(kernel, packed.projection, rows[i], 1);
  }
  std::vector<std::thread> callers;
  for (size_t caller = 0; caller < 4; caller++)
    callers.emplace_back([&, caller] {
      found[caller] = finish(kernel, packed.after_attention, rows[caller % 2], rows[caller % 2], 3);
      parts[caller] = project(kernel, packed.projection, rows[caller % 2], 3);
    });
  for (std::thread& caller : callers) caller.join();
  for (size_t caller = 0; caller < 4; caller++)
    check(found[caller] == right[caller % 2] && parts[caller] == projected[caller % 2], "%s: run %zu differs beside others", kernel.name, caller);
}

}  // namespace

int main() {
  for (size_t head_size : {32, 64}) {
    const attention::Kernel* kernels[attention::kMostKernels];
    const size_t count = attention::list_kernels(head_size, kernels);
    for (size_t i = 0; i < count; i++) test_attention_at_a_time(*kernels[i], head_size);
  }
  const layers::Kernel* kernels[layers::kMostKernels];
  const size_t count = layers::list_kernels(kernels);
  for (size_t i = 0; i < count; i++) test_layers_at_a_time(*kernels[i]);
  return report("threads");
}
