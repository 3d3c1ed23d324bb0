// Inputs, stored weights, shapes, outputs, scratch memory and threads of a custom operator. A null status is success everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "../parallel.h"
#include "api.h"

namespace jinabert::onnxruntime {

constexpr size_t kMostDimensions = 4;

// An input: its data and its shape.
struct Tensor {
  const void* data = nullptr;
  int64_t dimensions[kMostDimensions] = {};
  size_t rank = 0;

  template <typename Element>
  const Element* as() const {
    return static_cast<const Element*>(data);
  }
};

Status* fail(const Api* api, const char* message);

Status* read_input(const Api* api, const KernelContext* context, size_t index, Tensor* tensor);

// An input that the graph holds, which is there before any run; fails where it is computed.
Status* read_constant(const Api* api, const KernelInfo* info, size_t index, Tensor* tensor);

// Makes output `index` with this shape; `data` is where its elements go.
Status* make_output(const Api* api, KernelContext* context, size_t index, std::initializer_list<int64_t> dimensions,
                    void** data);

constexpr int64_t kUnknown = -1;

// What is known of an output before a run.
struct OutputShape {
  ElementType type;
  size_t rank;
  int64_t dimensions[kMostDimensions];
  const char* names[kMostDimensions];  // of unknown dimensions: each a different one, else they are taken for equal
};

Status* infer_output(const Api* api, ShapeInferContext* context, size_t index, const OutputShape& output);

// Memory of the session's own allocator, from its making to the end of the block; data() is null where it has run out.
class Scratch {
 public:
  Scratch(Allocator* allocator, size_t bytes) : allocator_(allocator), data_(allocator->Alloc(allocator, bytes)) {}
  ~Scratch() {
    if (data_) allocator_->Free(allocator_, data_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }

 private:
  Allocator* allocator_;
  void* data_;
};

// The session's own threads, for as long as the run lasts that `context` belongs to.
class SessionThreads final : public Parallel {
 public:
  SessionThreads(const Api* api, const KernelContext* context) : api_(api), context_(context) {}
  void run(Task task, void* data, size_t count) override;
  Status* status() const { return status_; }  // of the first run that failed

 private:
  const Api* api_;
  const KernelContext* context_;
  Status* status_ = nullptr;
};

}  // namespace jinabert::onnxruntime
