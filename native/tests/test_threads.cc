// Several runs at a time, each on several threads: for a thread sanitizer, and bit by bit against runs alone.
#include <cstring>

#include "batch.h"
#include "check.h"
#include "standard_threads.h"

using namespace jinabert;
using namespace jinabert::attention;
using namespace jinabert::test;

namespace {

void test_runs_at_a_time(const Kernel& kernel, size_t head_size) {
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

}  // namespace

int main() {
  for (size_t head_size : {32, 64}) {
    const Kernel* kernels[kMostKernels];
    const size_t count = list_kernels(head_size, kernels);
    for (size_t i = 0; i < count; i++) test_runs_at_a_time(*kernels[i], head_size);
  }
  return report("threads");
}
