#include "tensors.h"

namespace jinabert::onnxruntime {

Status* fail(const Api* api, const char* message) {
  return call<Place::kCreateStatus>(api, static_cast<int>(ErrorCode::kInvalidArgument), message);
}

namespace {

Status* read_value(const Api* api, const Value* value, Tensor* tensor) {
  TensorInfo* info = nullptr;
  if (Status* status = call<Place::kGetTensorInfo>(api, value, &info)) return status;
  const TensorInfo* read_only = info;
  Status* status = call<Place::kGetDimensionsCount>(api, read_only, &tensor->rank);
  if (!status && tensor->rank > kMostDimensions) status = fail(api, "an input has more than 4 dimensions");
  if (!status) status = call<Place::kGetDimensions>(api, read_only, &tensor->dimensions[0], tensor->rank);
  release<Place::kReleaseTensorInfo>(api, info);
  if (status) return status;
  return call<Place::kGetTensorMutableData>(api, const_cast<Value*>(value), const_cast<void**>(&tensor->data));
}

}  // namespace

Status* read_input(const Api* api, const KernelContext* context, size_t index, Tensor* tensor) {
  const Value* value = nullptr;
  if (Status* status = call<Place::kKernelContextGetInput>(api, context, index, &value)) return status;
  return read_value(api, value, tensor);
}

Status* read_constant(const Api* api, const KernelInfo* info, size_t index, Tensor* tensor) {
  int is_constant = 0;
  const Value* value = nullptr;
  if (Status* status = call<Place::kKernelInfoGetConstantInput>(api, info, index, &is_constant, &value)) return status;
  return is_constant && value ? read_value(api, value, tensor) : fail(api, "a weight is not stored in the graph");
}

Status* make_output(const Api* api, KernelContext* context, size_t index, std::initializer_list<int64_t> dimensions,
                    void** data) {
  Value* value = nullptr;
  if (Status* status =
          call<Place::kKernelContextGetOutput>(api, context, index, dimensions.begin(), dimensions.size(), &value))
    return status;
  return call<Place::kGetTensorMutableData>(api, value, data);
}

Status* infer_output(const Api* api, ShapeInferContext* context, size_t index, const OutputShape& output) {
  TensorInfo* info = nullptr;
  if (Status* status = call<Place::kCreateTensorInfo>(api, &info)) return status;
  Status* status = call<Place::kSetTensorElementType>(api, info, static_cast<int>(output.type));
  // Both are read: the name of a dimension, and its number where that is empty.
  if (!status) status = call<Place::kSetDimensions>(api, info, &output.dimensions[0], output.rank);
  if (!status) status = call<Place::kSetSymbolicDimensions>(api, info, &output.names[0], output.rank);
  if (!status)
    status = call<Place::kShapeInferContextSetOutput>(api, static_cast<const ShapeInferContext*>(context), index,
                                                      static_cast<const TensorInfo*>(info));
  release<Place::kReleaseTensorInfo>(api, info);
  return status;
}

void SessionThreads::run(Task task, void* data, size_t count) {
  if (status_) return;
  if (count == 1) return task(data, 0);  // waking a thread takes longer than little work
  constexpr size_t kBatches = 0;         // the session's scheduler decides how many tasks a thread takes at a time
  status_ = call<Place::kKernelContextParallelFor>(api_, context_, task, count, kBatches, data);
}

}  // namespace jinabert::onnxruntime
