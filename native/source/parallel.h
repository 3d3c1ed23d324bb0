// How kernels run on several threads. Kernels know no thread pool: onnxruntime's, or a test's, is handed to them.
#pragma once

#include <cstddef>

namespace jinabert {

using Task = void (*)(void* data, size_t index);

class Parallel {
 public:
  // Runs task(data, index) for every index below `count`, in any order and on any threads; returns after the last.
  virtual void run(Task task, void* data, size_t count) = 0;

 protected:
  ~Parallel() = default;
};

}  // namespace jinabert
