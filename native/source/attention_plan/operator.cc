// jinabert::AttentionPlan: attention_mask (batch, sequence) -> 12 outputs, of which the portable attention alone reads
// rows, back, biases, dense, even and text_shape: here they are empty.
#include <cstring>

#include "../onnxruntime/tensors.h"
#include "../operators.h"
#include "attention_plan.h"

namespace jinabert {

using namespace onnxruntime;

namespace {

enum Index { kSource, kTokens, kTokenBlocks, kPositions, kTexts, kRows, kBack, kBiases, kDense, kEven, kTextShape, kTokenRows };

constexpr OutputShape kOutputs[] = {
    {ElementType::kInt64, 1, {kUnknown}, {"tokens"}},
    {ElementType::kInt64, 1, {kUnknown}, {"padded_tokens"}},
    {ElementType::kInt64, 1, {3}, {""}},
    {ElementType::kFloat, 1, {kUnknown}, {"positions"}},
    {ElementType::kInt64, 2, {kUnknown, 2}, {"texts", ""}},
    {ElementType::kInt64, 2, {kUnknown, kUnknown}, {"rows_texts", "rows_tokens"}},
    {ElementType::kInt64, 1, {kUnknown}, {"back_tokens"}},
    {ElementType::kFloat, 4, {kUnknown, kUnknown, kUnknown, kUnknown}, {"bias_texts", "bias_heads", "bias_queries", "bias_keys"}},
    {ElementType::kBool, 0, {}, {}},
    {ElementType::kBool, 0, {}, {}},
    {ElementType::kInt64, 1, {3}, {""}},
    {ElementType::kInt64, 1, {2}, {""}},
};
constexpr size_t kOutputCount = sizeof kOutputs / sizeof kOutputs[0];

Status* infer_shapes(const CustomOp*, ShapeInferContext* context) {
  for (size_t index = 0; index < kOutputCount; index++)
    if (Status* status = infer_output(api_of_process, context, index, kOutputs[index])) return status;
  return nullptr;
}

// The outputs of one run, made one after the other; the first failure is kept, and nothing is made after it.
class Outputs {
 public:
  Outputs(const Api* api, KernelContext* context) : api_(api), context_(context) {}

  template <typename Element>
  Element* make(Index index, std::initializer_list<int64_t> dimensions) {
    void* data = nullptr;
    if (!status_) status_ = make_output(api_, context_, index, dimensions, &data);
    return static_cast<Element*>(data);
  }

  void make_numbers(Index index, std::initializer_list<int64_t> numbers) {
    int64_t* data = make<int64_t>(index, {static_cast<int64_t>(numbers.size())});
    if (data) std::memcpy(data, numbers.begin(), numbers.size() * sizeof(int64_t));
  }

  void make_false(Index index) {
    if (bool* data = make<bool>(index, {})) *data = false;
  }

  Status* status() const { return status_; }

 private:
  const Api* api_;
  KernelContext* context_;
  Status* status_ = nullptr;
};

Status* compute(void* kernel, KernelContext* context) {
  const Api* api = static_cast<const Api*>(kernel);
  Tensor mask;
  if (Status* status = read_input(api, context, 0, &mask)) return status;
  if (mask.rank != 2) return fail(api, "attention_mask must be (batch, sequence)");
  const int64_t batch = mask.dimensions[0], sequence = mask.dimensions[1];
  const attention_plan::Sizes sizes = attention_plan::count(mask.as<int64_t>(), batch, sequence);
  const int64_t rows = sizes.rows();
  Outputs outputs(api, context);
  int64_t* source = outputs.make<int64_t>(kSource, {sizes.tokens});
  int64_t* tokens = outputs.make<int64_t>(kTokens, {rows});
  float* positions = outputs.make<float>(kPositions, {sizes.tokens});
  int64_t* texts = outputs.make<int64_t>(kTexts, {batch, 2});
  int64_t* back = outputs.make<int64_t>(kBack, {rows});
  outputs.make_numbers(kTokenBlocks, {sizes.blocks, sizes.block_length, -1});
  outputs.make_numbers(kTokenRows, {rows, -1});
  outputs.make_numbers(kTextShape, {batch, 0, -1});
  outputs.make<int64_t>(kRows, {batch, 0});
  outputs.make<float>(kBiases, {batch, 1, 0, 0});
  outputs.make_false(kDense);
  outputs.make_false(kEven);
  if (outputs.status()) return outputs.status();
  attention_plan::fill(mask.as<int64_t>(), batch, sequence, source, positions, texts);
  std::memset(tokens, 0, rows * sizeof(int64_t));  // padding reads the first place
  std::memcpy(tokens, source, sizes.tokens * sizeof(int64_t));
  std::memset(back, 0, rows * sizeof(int64_t));
  return nullptr;
}

Status* create(const CustomOp*, const Api* api, const KernelInfo*, void** kernel) {
  *kernel = const_cast<Api*>(api);
  return nullptr;
}

CustomOp make_operator() {
  CustomOp op = basic_operator([](const CustomOp*) { return "AttentionPlan"; });
  op.GetInputTypeCount = [](const CustomOp*) -> size_t { return 1; };
  op.GetInputType = [](const CustomOp*, size_t) { return static_cast<int>(ElementType::kInt64); };
  op.GetOutputTypeCount = [](const CustomOp*) { return kOutputCount; };
  op.GetOutputType = [](const CustomOp*, size_t index) { return static_cast<int>(kOutputs[index].type); };
  op.InferOutputShape = infer_shapes;
  op.CreateKernelV2 = create;
  op.KernelComputeV2 = compute;
  op.KernelDestroy = [](void*) {};
  return op;
}

}  // namespace

const CustomOp* attention_plan_operator() {
  static const CustomOp op = make_operator();
  return &op;
}

}  // namespace jinabert
