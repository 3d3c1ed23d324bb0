#include "operators.h"

namespace jinabert {

using namespace onnxruntime;

CustomOp basic_operator(const char* (*name)(const CustomOp*)) {
  constexpr int kRequired = 0;
  CustomOp op{};
  op.version = kApiVersion;
  op.GetName = name;
  op.GetExecutionProviderType = [](const CustomOp*) { return "CPUExecutionProvider"; };
  op.GetInputCharacteristic = [](const CustomOp*, size_t) { return kRequired; };
  op.GetOutputCharacteristic = [](const CustomOp*, size_t) { return kRequired; };
  op.GetInputMemoryType = [](const CustomOp*, size_t) { return static_cast<int>(MemoryType::kDefault); };
  op.GetStartVersion = [](const CustomOp*) { return kAttentionVersion; };
  op.GetEndVersion = [](const CustomOp*) { return kAttentionVersion; };
  return op;
}

}  // namespace jinabert
