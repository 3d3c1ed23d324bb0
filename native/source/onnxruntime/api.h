// The part of onnxruntime's C interface that a custom operator needs.
//
// onnxruntime hands over a table of function pointers that only ever grows at its end, so an entry is known by its
// place. No package ships the header that names them; these are the places, the same in every release since 1.18.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jinabert::onnxruntime {

constexpr uint32_t kApiVersion = 23;  // of the oldest release that the runtime supports, 1.23

using Entry = void (*)();
struct Api {
  Entry entries[1];
};
struct ApiBase {
  const Api* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

struct Status;
struct SessionOptions;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct TensorInfo;
struct ShapeInferContext;
struct MemoryInfo;

struct Allocator {
  uint32_t version;
  void* (*Alloc)(Allocator*, size_t bytes);  // null or an exception, which onnxruntime catches, without memory
  void (*Free)(Allocator*, void*);
  const MemoryInfo* (*Info)(const Allocator*);
};

enum class ElementType : int { kFloat = 1, kInt8 = 3, kInt64 = 7, kBool = 9 };
enum class ErrorCode : int { kInvalidArgument = 2 };
enum class MemoryType : int { kDefault = 0 };

enum class Place : size_t {
  kCreateStatus = 0,
  kCreateCustomOpDomain = 26,
  kCustomOpDomainAdd = 27,
  kAddCustomOpDomain = 28,
  kGetTensorMutableData = 51,
  kCreateTensorInfo = 57,
  kSetTensorElementType = 58,
  kSetDimensions = 59,
  kGetDimensionsCount = 61,
  kGetDimensions = 62,
  kGetSymbolicDimensions = 63,
  kGetTensorInfo = 65,
  kKernelInfoGetFloat = 85,
  kKernelInfoGetString = 87,
  kKernelContextGetInput = 90,
  kKernelContextGetOutput = 91,
  kReleaseStatus = 93,
  kReleaseTensorInfo = 99,
  kReleaseAllocator = 132,
  kKernelInfoGetFloats = 162,
  kGetSessionConfigEntry = 238,
  kKernelInfoGetConstantInput = 249,
  kShapeInferContextGetInput = 268,
  kShapeInferContextSetOutput = 270,
  kSetSymbolicDimensions = 271,
  kKernelContextParallelFor = 274,
  kKernelInfoGetAllocator = 278,
};

// Calls the entry at PLACE; a null status is success.
template <Place PLACE, typename... Arguments>
Status* call(const Api* api, Arguments... arguments) {
  return reinterpret_cast<Status* (*)(Arguments...)>(api->entries[static_cast<size_t>(PLACE)])(arguments...);
}

// Calls the entry at PLACE, one of those that release an object and return nothing.
template <Place PLACE, typename Object>
void release(const Api* api, Object* object) {
  reinterpret_cast<void (*)(Object*)>(api->entries[static_cast<size_t>(PLACE)])(object);
}

struct CustomOp {
  uint32_t version;
  void* (*CreateKernel)(const CustomOp*, const Api*, const KernelInfo*);  // of the first interface: unused
  const char* (*GetName)(const CustomOp*);
  const char* (*GetExecutionProviderType)(const CustomOp*);
  int (*GetInputType)(const CustomOp*, size_t);
  size_t (*GetInputTypeCount)(const CustomOp*);
  int (*GetOutputType)(const CustomOp*, size_t);
  size_t (*GetOutputTypeCount)(const CustomOp*);
  void (*KernelCompute)(void*, KernelContext*);  // of the first interface: unused
  void (*KernelDestroy)(void*);
  int (*GetInputCharacteristic)(const CustomOp*, size_t);
  int (*GetOutputCharacteristic)(const CustomOp*, size_t);
  int (*GetInputMemoryType)(const CustomOp*, size_t);
  int (*GetVariadicInputMinArity)(const CustomOp*);
  int (*GetVariadicInputHomogeneity)(const CustomOp*);
  int (*GetVariadicOutputMinArity)(const CustomOp*);
  int (*GetVariadicOutputHomogeneity)(const CustomOp*);
  Status* (*CreateKernelV2)(const CustomOp*, const Api*, const KernelInfo*, void**);
  Status* (*KernelComputeV2)(void*, KernelContext*);
  Status* (*InferOutputShape)(const CustomOp*, ShapeInferContext*);
  int (*GetStartVersion)(const CustomOp*);
  int (*GetEndVersion)(const CustomOp*);
  size_t (*GetMayInplace)(int**, int**);
  void (*ReleaseMayInplace)(int*, int*);
  size_t (*GetAliasMap)(int**, int**);
  void (*ReleaseAliasMap)(int*, int*);
};

}  // namespace jinabert::onnxruntime
