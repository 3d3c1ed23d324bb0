// How long attention takes, of each kernel that this processor can run: medians, interleaved, and the operations of all
// pairs of tokens in a second, which may exceed the processor's peak: far pairs are left out.
//
//   benchmark_attention [heads] [head size] [threads] [length ...]
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "../tests/batch.h"
#include "standard_threads.h"

using namespace jinabert;
using namespace jinabert::attention;
using namespace jinabert::test;

namespace {

double seconds(const Kernel& kernel, const Batch& batch, Parallel& parallel) {
  const auto begin = std::chrono::steady_clock::now();
  attend(kernel, batch, parallel);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int count, char** arguments) {
  auto number = [&](int place, size_t otherwise) { return count > place ? std::strtoul(arguments[place], nullptr, 10) : otherwise; };
  const size_t heads = number(1, 12), head_size = number(2, 64), threads = number(3, 2);
  std::vector<size_t> lengths;
  for (int i = 4; i < count; i++) lengths.push_back(number(i, 0));
  if (lengths.empty()) lengths = {16, 128, 512, 2048, 8192};
  const Kernel* kernels[kMostKernels];
  const size_t kernel_count = list_kernels(head_size, kernels);
  StandardThreads pool(threads);
  for (size_t length : lengths) {
    const Batch batch({length}, heads, head_size, 1.0f, 1);
    std::vector<double> times[kMostKernels];
    const size_t rounds = length > 4000 ? 5 : length > 1000 ? 11 : 51;
    for (size_t round = 0; round < rounds; round++)
      for (size_t i = 0; i < kernel_count; i++) times[i].push_back(seconds(*kernels[i], batch, pool));
    for (size_t i = 0; i < kernel_count; i++) {
      std::nth_element(times[i].begin(), times[i].begin() + rounds / 2, times[i].end());
      const double operations = 4.0 * static_cast<double>(length * length * head_size * heads);
      std::printf("%6zu tokens  %-12s %9.3f ms  %7.1f Gop/s of all pairs\n", length, kernels[i]->name,
                  times[i][rounds / 2] * 1e3, operations / times[i][rounds / 2] / 1e9);
    }
  }
}
