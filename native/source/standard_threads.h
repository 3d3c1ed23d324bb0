// Threads of the standard library, where onnxruntime's cannot be had: while a session is made, and in tests.
#pragma once

#include <algorithm>
#include <atomic>
#include <system_error>
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
    try {
      for (size_t i = 1; i < std::min(threads_, count); i++) others.emplace_back(work);
    } catch (const std::system_error&) {  // the process may start no more: fewer threads do it too
    }
    work();
    for (std::thread& other : others) other.join();
  }

 private:
  size_t threads_;
};

}  // namespace jinabert
