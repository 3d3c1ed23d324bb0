// jinabert::QuantizedQueryKeyValue and jinabert::QuantizedAfterAttention, and those of the qk-post-norm variant, which
// normalise once more. Their weights are packed when the session is made.
#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#include "../operators.h"
#include "weights.h"

namespace jinabert {

using namespace onnxruntime;
using namespace layers;

namespace {

enum ProjectionInput { kHidden, kProjectionWeights, kProjectionInputs = 5, kNormalizedProjectionInputs = 10 };
enum AfterAttentionInput {
  kContext, kResidual, kTokenBlocks, kTokenRows, kAfterAttentionWeights, kOutputBias = 6,
  kAfterAttentionInputs = 19, kTwiceNormalizedInputs = 21,
};

std::atomic<uint64_t> runs{0};

// What the nodes of both kinds have in common.
struct LayerNode {
  const Api* api;
  const Kernel* kernel = nullptr;
  size_t threads;
  Allocator* allocator = nullptr;
  Arena arena;

  LayerNode(const Api* the_api, size_t the_threads) : api(the_api), threads(the_threads) {}
  LayerNode(const LayerNode&) = delete;
  ~LayerNode() {
    if (allocator) release<Place::kReleaseAllocator>(api, allocator);
  }

  Status* choose(size_t hidden_size) {
    kernel = choose_kernel(hidden_size);
    return kernel ? nullptr : fail(api, "the kernels have no layers of this size on this processor");
  }

  Status* get_allocator(const KernelInfo* info) {
    return call<Place::kKernelInfoGetAllocator>(api, info, static_cast<int>(MemoryType::kDefault), &allocator);
  }

  // Runs compute(resources) with so much scratch memory.
  template <typename Compute>
  Status* with_resources(KernelContext* context, size_t bytes, const Compute& compute) {
    const Scratch scratch(allocator, bytes + kAlignment);
    if (!scratch.data()) return fail(api, "memory has run out");
    const auto address = reinterpret_cast<uintptr_t>(scratch.data());
    char* const aligned = static_cast<char*>(scratch.data()) + ((address + kAlignment - 1) / kAlignment * kAlignment - address);
    SessionThreads session(api, context);
    compute(Resources{aligned, threads, session});
    if (!session.status()) runs.fetch_add(1, std::memory_order_relaxed);
    return session.status();
  }
};

bool is_rows_of(const Tensor& tensor, size_t width) { return tensor.rank == 2 && tensor.dimensions[1] == static_cast<int64_t>(width); }

// The size of rows, of a node whose first weight is (hidden size, ...).
Status* read_hidden_size(const Api* api, const KernelInfo* info, size_t index, size_t* size) {
  Tensor tensor;
  if (Status* status = read_constant(api, info, index, &tensor)) return status;
  *size = tensor.rank ? static_cast<size_t>(tensor.dimensions[0]) : 0;
  return nullptr;
}

struct ProjectionNode : LayerNode {
  Projection weights{};

  using LayerNode::LayerNode;

  Status* read(const KernelInfo* info, bool normalizes) {
    size_t hidden_size = 0;
    if (Status* status = read_hidden_size(api, info, kProjectionWeights, &hidden_size)) return status;
    if (Status* status = choose(hidden_size)) return status;
    if (normalizes)
      if (Status* status = call<Place::kKernelInfoGetFloat>(api, info, "epsilon", &weights.epsilon)) return status;
    WeightReader reader(api, info, kProjectionWeights, *kernel, threads, &arena);
    read_weights(reader, hidden_size, normalizes);
    reader.release_matrices();
    return reader.status() ? reader.status() : get_allocator(info);
  }

  void read_weights(WeightReader& reader, size_t hidden_size, bool normalizes) {
    weights.hidden_size = hidden_size;
    weights.smoothing = reader.kept_floats(hidden_size);
    const StoredMatrix all = reader.matrix();  // side by side: query, key, value
    reader.require(all.depth == hidden_size && all.columns == 3 * hidden_size, "the weights of a layer do not fit each other");
    const float* biases[3] = {reader.floats(hidden_size), normalizes ? reader.floats(hidden_size) : nullptr, nullptr};
    pack_parts(reader, all, biases);
    for (size_t part = 0; normalizes && part < 2; part++) weights.norms[part] = reader.norm(hidden_size);
  }

  void pack_parts(WeightReader& reader, const StoredMatrix& all, const float* const* biases) {
    for (size_t part = 0; part < 3 && !reader.status(); part++) {
      const size_t first = part * weights.hidden_size;
      const StoredMatrix own{all.weight + first, all.scales + first, biases[part], all.depth, weights.hidden_size, all.stride};
      weights.parts[part] = reader.pack(&own, 1);
    }
  }

  Status* compute(KernelContext* context) {
    Tensor hidden;
    if (Status* status = read_input(api, context, kHidden, &hidden)) return status;
    if (!is_rows_of(hidden, weights.hidden_size)) return fail(api, "the inputs of a layer do not fit each other");
    ProjectionRows rows{hidden.as<float>(), {}, static_cast<size_t>(hidden.dimensions[0])};
    for (size_t part = 0; part < 3; part++)
      if (Status* status = make_output(api, context, part, {hidden.dimensions[0], hidden.dimensions[1]},
                                       reinterpret_cast<void**>(&rows.outputs[part])))
        return status;
    if (!rows.rows) return nullptr;
    return with_resources(context, kernel->projection_scratch(weights, rows.rows, threads),
                          [&](const Resources& resources) { kernel->project(weights, rows, resources); });
  }
};

struct AfterAttentionNode : LayerNode {
  AfterAttention weights{};

  using LayerNode::LayerNode;

  Status* read(const KernelInfo* info, bool twice) {
    size_t hidden_size = 0;
    if (Status* status = read_hidden_size(api, info, kAfterAttentionWeights, &hidden_size)) return status;
    if (Status* status = choose(hidden_size)) return status;
    if (Status* status = read_attributes(info)) return status;
    WeightReader reader(api, info, kAfterAttentionWeights, *kernel, threads, &arena);
    read_weights(reader, hidden_size, twice);
    reader.release_matrices();
    return reader.status() ? reader.status() : get_allocator(info);
  }

  Status* read_attributes(const KernelInfo* info) {
    if (Status* status = call<Place::kKernelInfoGetFloat>(api, info, "epsilon", &weights.epsilon)) return status;
    char name[8] = {};
    size_t size = sizeof name;
    if (Status* status = call<Place::kKernelInfoGetString>(api, info, "activation", &name[0], &size)) return status;
    const bool gelu = !std::strcmp(name, "Gelu");
    if (!gelu && std::strcmp(name, "Relu")) return fail(api, "the kernels have no such activation");
    weights.activation = gelu ? Activation::kGelu : Activation::kRelu;
    return nullptr;
  }

  void read_weights(WeightReader& reader, size_t hidden_size, bool twice) {
    constexpr char kUnfit[] = "the weights of a layer do not fit each other";
    weights.hidden_size = hidden_size;
    StoredMatrix output = reader.matrix();
    output.biases = reader.floats(hidden_size);
    weights.attended = reader.norm(hidden_size);
    if (twice) weights.middle = reader.norm(hidden_size);
    weights.smoothing = reader.kept_floats(hidden_size);
    StoredMatrix gate_up[2] = {reader.matrix(), {}};
    gate_up[1] = reader.matrix();
    StoredMatrix down = reader.matrix();
    down.biases = reader.floats(hidden_size);
    weights.last = reader.norm(hidden_size);
    reader.require(output.depth == hidden_size && output.columns == hidden_size && down.columns == hidden_size, kUnfit);
    for (const StoredMatrix& wide : gate_up) reader.require(wide.depth == hidden_size && wide.columns == down.depth, kUnfit);
    weights.width = down.depth;
    weights.output = reader.pack(&output, 1);
    weights.gate_up = reader.pack(gate_up, 2);
    weights.down = reader.pack(&down, 1);
  }

  Status* compute(KernelContext* context) {
    Tensor attended, hidden;
    if (Status* status = read_input(api, context, kContext, &attended)) return status;
    if (Status* status = read_input(api, context, kResidual, &hidden)) return status;
    const bool fit = is_rows_of(attended, weights.hidden_size) && is_rows_of(hidden, weights.hidden_size) &&
                     attended.dimensions[0] == hidden.dimensions[0];
    if (!fit) return fail(api, "the inputs of a layer do not fit each other");
    AfterAttentionRows rows{attended.as<float>(), hidden.as<float>(), nullptr, static_cast<size_t>(hidden.dimensions[0])};
    if (Status* status = make_output(api, context, 0, {hidden.dimensions[0], hidden.dimensions[1]}, reinterpret_cast<void**>(&rows.output)))
      return status;
    if (!rows.rows) return nullptr;
    return with_resources(context, kernel->after_attention_scratch(weights, rows.rows, threads),
                          [&](const Resources& resources) { kernel->finish(weights, rows, resources); });
  }
};

// A dimension as a graph knows it.
struct Dimension {
  int64_t size = kUnknown;
  std::string name;  // of an unknown one
};

// The first dimension of an input; unknown and without a name where nothing is known of the input.
Status* read_first_dimension(const Api* api, const ShapeInferContext* context, size_t index, Dimension* dimension) {
  TensorInfo* info = nullptr;
  if (Status* status = call<Place::kShapeInferContextGetInput>(api, context, index, &info)) return status;
  const TensorInfo* read_only = info;
  size_t rank = 0;
  if (Status* status = call<Place::kGetDimensionsCount>(api, read_only, &rank)) return status;
  if (!rank || rank > kMostDimensions) return nullptr;
  const char* names[kMostDimensions] = {};
  if (Status* status = call<Place::kGetDimensions>(api, read_only, &dimension->size, size_t{1})) return status;
  if (Status* status = call<Place::kGetSymbolicDimensions>(api, read_only, &names[0], rank)) return status;
  if (names[0]) dimension->name = names[0];
  return nullptr;
}

// All outputs are (rows, hidden size): as many rows as the first input, and as many channels as a weight, (hidden size).
//
// Rows of different nodes may differ in number, so those without a name get one of their own: onnxruntime takes equal
// names for equal numbers.
template <size_t WEIGHT, size_t OUTPUTS>
Status* infer_shapes(const CustomOp*, ShapeInferContext* context) {
  static std::atomic<uint64_t> unnamed{0};
  Dimension rows, channels;
  if (Status* status = read_first_dimension(api_of_process, context, 0, &rows)) return status;
  if (Status* status = read_first_dimension(api_of_process, context, WEIGHT, &channels)) return status;
  if (rows.size < 0 && rows.name.empty()) rows.name = "layer_rows_" + std::to_string(unnamed.fetch_add(1));
  if (channels.size < 0 && channels.name.empty()) channels.name = "layer_channels";
  const OutputShape output{ElementType::kFloat, 2, {rows.size, channels.size}, {rows.name.c_str(), channels.name.c_str()}};
  for (size_t index = 0; index < OUTPUTS; index++)
    if (Status* status = infer_output(api_of_process, context, index, output)) return status;
  return nullptr;
}

template <typename Node, bool NORMALIZES>
Status* create(const CustomOp* op, const Api* api, const KernelInfo* info, void** kernel) {
  try {
    auto node = std::make_unique<Node>(api, static_cast<const LayerOperator*>(op)->threads);
    if (Status* status = node->read(info, NORMALIZES)) return status;
    *kernel = node.release();
    return nullptr;
  } catch (...) {  // none may leave through onnxruntime, which has another standard library
    return fail(api, "memory has run out");
  }
}

template <typename Node, bool NORMALIZES>
LayerOperator make_operator(const char* (*name)(const CustomOp*), size_t threads) {
  LayerOperator op{basic_operator(name), threads};
  op.GetOutputType = [](const CustomOp*, size_t) { return static_cast<int>(ElementType::kFloat); };
  op.GetStartVersion = [](const CustomOp*) { return kLayerVersion; };
  op.GetEndVersion = op.GetStartVersion;
  op.CreateKernelV2 = create<Node, NORMALIZES>;
  op.KernelComputeV2 = [](void* kernel, KernelContext* context) { return static_cast<Node*>(kernel)->compute(context); };
  op.KernelDestroy = [](void* kernel) { delete static_cast<Node*>(kernel); };
  return op;
}

template <bool NORMALIZES>
LayerOperator make_projection(const char* (*name)(const CustomOp*), size_t threads) {
  LayerOperator op = make_operator<ProjectionNode, NORMALIZES>(name, threads);
  op.GetInputTypeCount = [](const CustomOp*) -> size_t { return NORMALIZES ? kNormalizedProjectionInputs : kProjectionInputs; };
  op.GetInputType = [](const CustomOp*, size_t index) {
    return static_cast<int>(index == kProjectionWeights + 1 ? ElementType::kInt8 : ElementType::kFloat);
  };
  op.GetOutputTypeCount = [](const CustomOp*) -> size_t { return 3; };
  op.InferOutputShape = infer_shapes<kProjectionWeights, 3>;
  return op;
}

// The weights of bytes: output, then gate, up and down behind the norms and the smoothing.
template <bool TWICE>
ElementType type_after_attention(size_t index) {
  constexpr size_t kGate = kAfterAttentionWeights + (TWICE ? 8 : 6);
  if (index == kTokenBlocks || index == kTokenRows) return ElementType::kInt64;
  const bool is_bytes = index == kAfterAttentionWeights || index == kGate || index == kGate + 2 || index == kGate + 4;
  return is_bytes ? ElementType::kInt8 : ElementType::kFloat;
}

template <bool TWICE>
LayerOperator make_after_attention(const char* (*name)(const CustomOp*), size_t threads) {
  LayerOperator op = make_operator<AfterAttentionNode, TWICE>(name, threads);
  op.GetInputTypeCount = [](const CustomOp*) -> size_t { return TWICE ? kTwiceNormalizedInputs : kAfterAttentionInputs; };
  op.GetInputType = [](const CustomOp*, size_t index) { return static_cast<int>(type_after_attention<TWICE>(index)); };
  op.GetOutputTypeCount = [](const CustomOp*) -> size_t { return 1; };
  op.InferOutputShape = infer_shapes<kOutputBias, 1>;
  return op;
}

}  // namespace

LayerOperators::LayerOperators(size_t threads)
    : operators{make_projection<false>([](const CustomOp*) { return "QuantizedQueryKeyValue"; }, threads),
                make_projection<true>([](const CustomOp*) { return "QuantizedQkPostNormQueryKeyValue"; }, threads),
                make_after_attention<false>([](const CustomOp*) { return "QuantizedAfterAttention"; }, threads),
                make_after_attention<true>([](const CustomOp*) { return "QuantizedQkPostNormAfterAttention"; }, threads)} {}

uint64_t layer_runs() { return runs.load(std::memory_order_relaxed); }

}  // namespace jinabert
