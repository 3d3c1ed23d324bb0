// The weights of one node of the graph, read and packed while the session is made.
#pragma once

#include "../onnxruntime/tensors.h"
#include "arena.h"
#include "packing.h"

namespace jinabert::layers {

// Reads a node's stored inputs one after the other, checks their shapes, and puts what kernels read into memory of the
// node's own. The first failure is kept, and what is read after it is empty.
class WeightReader {
 public:
  WeightReader(const onnxruntime::Api* api, const onnxruntime::KernelInfo* info, size_t first_input, const Kernel& kernel, size_t threads,
               Arena* arena)
      : api_(api), info_(info), next_(first_input), kernel_(kernel), threads_(threads), arena_(arena) {}

  // int8 (depth, columns), and float32 scales (columns). Biases may be set before it is packed.
  StoredMatrix matrix();
  // float32 (count), as the file has them.
  const float* floats(size_t count);
  // float32 (count), in the node's own memory.
  const float* kept_floats(size_t count);
  Norm norm(size_t count);

  // Packs one stored matrix, or two whose panels take turns.
  Matrix pack(const StoredMatrix* stored, size_t count);

  // Lets go of the file's pages of all matrices that were read, once they have been packed.
  void release_matrices() const;

  // Notes a failure, unless `holds`.
  void require(bool holds, const char* message);
  onnxruntime::Status* status() const { return status_; }

 private:
  onnxruntime::Tensor next();

  const onnxruntime::Api* api_;
  const onnxruntime::KernelInfo* info_;
  size_t next_;
  const Kernel& kernel_;
  size_t threads_;
  Arena* arena_;
  std::vector<Memory> matrices_;
  onnxruntime::Status* status_ = nullptr;
};

}  // namespace jinabert::layers
