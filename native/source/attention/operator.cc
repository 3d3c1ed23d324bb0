// jinabert::AlibiAttention of packed tokens: query, key and value (rows, channels), and what the AttentionPlan gives
// -> context (rows, channels). Of the plan it reads positions and texts.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

#include "../onnxruntime/tensors.h"
#include "../operators.h"
#include "problem.h"

namespace jinabert {

using namespace onnxruntime;

namespace {

enum Index { kQuery, kKey, kValue, kPositions, kTexts, kRows, kBack, kBiases, kDense, kEven, kTextShape, kTokenRows, kInputCount };

std::atomic<uint64_t> runs{0};

bool same_shape(const Tensor& a, const Tensor& b) {
  return a.rank == b.rank && std::equal(a.dimensions, a.dimensions + a.rank, b.dimensions);
}

// Whether texts (count, 2) stand one after the other, and return where the last one ends; -1 where they do not.
int64_t end_of_texts(const Tensor& texts) {
  int64_t at = 0;
  for (int64_t text = 0; text < texts.dimensions[0]; text++) {
    const int64_t* range = texts.as<int64_t>() + 2 * text;
    if (range[0] != at || range[1] < at) return -1;
    at = range[1];
  }
  return at;
}

// What the kernels rely on: a file can wire anything to an operator.
bool fits(const Tensor* inputs, size_t heads) {
  const Tensor &query = inputs[kQuery], &positions = inputs[kPositions], &texts = inputs[kTexts];
  if (query.rank != 2 || !heads || query.dimensions[1] % static_cast<int64_t>(heads)) return false;
  if (!same_shape(query, inputs[kKey]) || !same_shape(query, inputs[kValue])) return false;
  if (positions.rank != 1 || texts.rank != 2 || texts.dimensions[1] != 2) return false;
  const int64_t end = end_of_texts(texts);
  return end >= 0 && end <= positions.dimensions[0] && end <= query.dimensions[0];
}

// A node of the graph.
struct AlibiAttention {
  const Api* api;
  Allocator* allocator = nullptr;
  attention::Precision precision;
  std::vector<float> slopes;  // one per head
  float scale = 0.0f;

  AlibiAttention(const Api* the_api, attention::Precision the_precision) : api(the_api), precision(the_precision) {}
  ~AlibiAttention() {
    if (allocator) release<Place::kReleaseAllocator>(api, allocator);
  }

  Status* read_attributes(const KernelInfo* info) {
    float* none = nullptr;
    size_t count = 0;
    if (Status* status = call<Place::kKernelInfoGetFloats>(api, info, "slopes", none, &count)) return status;
    slopes.resize(count);
    if (Status* status = call<Place::kKernelInfoGetFloats>(api, info, "slopes", slopes.data(), &count)) return status;
    // Keys that are not there weigh nothing only because of their distance, times a slope.
    if (!std::all_of(slopes.begin(), slopes.end(), [](float slope) { return std::isfinite(slope) && slope > 1e-20f; }))
      return fail(api, "AlibiAttention needs slopes above 0");
    if (Status* status = call<Place::kKernelInfoGetFloat>(api, info, "scale", &scale)) return status;
    return call<Place::kKernelInfoGetAllocator>(api, info, static_cast<int>(MemoryType::kDefault), &allocator);
  }

  Status* compute(KernelContext* context) {
    Tensor inputs[kTexts + 1];
    for (size_t index = 0; index <= kTexts; index++)
      if (Status* status = read_input(api, context, index, &inputs[index])) return status;
    if (!fits(inputs, slopes.size())) return fail(api, "the inputs of AlibiAttention do not fit each other");
    const int64_t rows = inputs[kQuery].dimensions[0], channels = inputs[kQuery].dimensions[1];
    void* output = nullptr;
    if (Status* status = make_output(api, context, 0, {rows, channels}, &output)) return status;
    if (!rows) return nullptr;  // then there need be no memory either
    const attention::Problem problem{
        inputs[kQuery].as<float>(),     inputs[kKey].as<float>(),         inputs[kValue].as<float>(),
        static_cast<float*>(output),    static_cast<size_t>(rows),        static_cast<size_t>(channels),
        slopes.size(),                  slopes.data(),                    scale,
        inputs[kPositions].as<float>(), inputs[kTexts].as<int64_t>(),     static_cast<size_t>(inputs[kTexts].dimensions[0]),
    };
    const attention::Kernel* kernel = attention::choose_kernel(problem.channels / problem.heads, precision);
    if (!kernel) return fail(api, "the kernels have no attention for this head size on this processor");
    return attend(problem, *kernel, context);
  }

  Status* attend(const attention::Problem& problem, const attention::Kernel& kernel, KernelContext* context) {
    const Scratch scratch(allocator, kernel.scratch_bytes(problem) + attention::kAlignment);
    if (!scratch.data()) return fail(api, "memory has run out");
    const auto address = reinterpret_cast<uintptr_t>(scratch.data());
    const auto aligned = (address + attention::kAlignment - 1) / attention::kAlignment * attention::kAlignment;
    SessionThreads threads(api, context);
    kernel.attend(problem, reinterpret_cast<void*>(aligned), threads);
    runs.fetch_add(1, std::memory_order_relaxed);
    return threads.status();
  }
};

template <attention::Precision PRECISION>
Status* create(const CustomOp*, const Api* api, const KernelInfo* info, void** kernel) {
  auto attention = std::make_unique<AlibiAttention>(api, PRECISION);
  if (Status* status = attention->read_attributes(info)) return status;
  *kernel = attention.release();
  return nullptr;
}

Status* infer_shape(const CustomOp*, ShapeInferContext* context) {
  TensorInfo* query = nullptr;
  const ShapeInferContext* read_only = context;
  if (Status* status = call<Place::kShapeInferContextGetInput>(api_of_process, read_only, size_t{kQuery}, &query)) return status;
  return call<Place::kShapeInferContextSetOutput>(api_of_process, read_only, size_t{0}, static_cast<const TensorInfo*>(query));
}

ElementType input_type(size_t index) {
  if (index == kDense || index == kEven) return ElementType::kBool;
  return index <= kPositions || index == kBiases ? ElementType::kFloat : ElementType::kInt64;
}

template <attention::Precision PRECISION>
CustomOp make_operator() {
  CustomOp op = basic_operator([](const CustomOp*) { return "AlibiAttention"; });
  op.GetInputTypeCount = [](const CustomOp*) -> size_t { return kInputCount; };
  op.GetInputType = [](const CustomOp*, size_t index) { return static_cast<int>(input_type(index)); };
  op.GetOutputTypeCount = [](const CustomOp*) -> size_t { return 1; };
  op.GetOutputType = [](const CustomOp*, size_t) { return static_cast<int>(ElementType::kFloat); };
  op.InferOutputShape = infer_shape;
  op.CreateKernelV2 = create<PRECISION>;
  op.KernelComputeV2 = [](void* kernel, KernelContext* context) { return static_cast<AlibiAttention*>(kernel)->compute(context); };
  op.KernelDestroy = [](void* kernel) { delete static_cast<AlibiAttention*>(kernel); };
  return op;
}

}  // namespace

const CustomOp* alibi_attention_operator(attention::Precision precision) {
  static const CustomOp float32 = make_operator<attention::Precision::kFloat32>();
  static const CustomOp bfloat16 = make_operator<attention::Precision::kBfloat16>();
  return precision == attention::Precision::kBfloat16 ? &bfloat16 : &float32;
}

uint64_t attention_runs() { return runs.load(std::memory_order_relaxed); }

}  // namespace jinabert
