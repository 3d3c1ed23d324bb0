#include "stages.h"

#include <atomic>
#include <thread>

namespace jinabert::layers {
namespace {

constexpr int kSpins = 2000;  // some 20 microseconds; then the core is left to others

struct Stage {
  alignas(64) std::atomic<size_t> next{0};
  alignas(64) std::atomic<size_t> done{0};
};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

void wait_for(const std::atomic<size_t>& done, size_t count) {
  for (int spins = 0; done.load(std::memory_order_acquire) != count;) {
    if (spins < kSpins) {
      spins++;
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

struct Run {
  Step step;
  void* data;
  const size_t* counts;
  size_t stages;
  Stage progress[kMostStages];

  void work(size_t worker) {
    for (size_t stage = 0; stage < stages; stage++) {
      Stage& mine = progress[stage];
      for (size_t ticket; (ticket = mine.next.fetch_add(1, std::memory_order_relaxed)) < counts[stage];) {
        step(data, stage, ticket, worker);
        mine.done.fetch_add(1, std::memory_order_release);
      }
      if (stage + 1 < stages) wait_for(mine.done, counts[stage]);
    }
  }
};

}  // namespace

void run_stages(Step step, void* data, const size_t* counts, size_t stages, size_t workers, Parallel& parallel) {
  Run run{step, data, counts, stages, {}};
  parallel.run([](void* data, size_t worker) { static_cast<Run*>(data)->work(worker); }, &run, workers);
}

}  // namespace jinabert::layers
