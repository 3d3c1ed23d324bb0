// Threads of the standard library, where onnxruntime's cannot be had: while a session is made, and in tests.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "parallel.h"

namespace jinabert {

class StandardThreads final : public Parallel {
 public:
  explicit StandardThreads(size_t threads) : threads_(threads) {}

  void run(Task task, void* data, size_t count) override {
    std::atomic<size_t> next{0};
    auto work = [&] {
      for (size_t index; (index = next.fetch_add(1)) < count;) task(data, index);
    };
    std::vector<std::thread> others;
    for (size_t i = 1; i < threads_; i++) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
  }

 private:
  size_t threads_;
};

}  // namespace jinabert
