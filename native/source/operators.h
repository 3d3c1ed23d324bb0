// The custom operators of the `jinabert` domain, as onnxruntime takes them.
#pragma once

#include <cstdint>

#include "attention/problem.h"
#include "onnxruntime/api.h"

namespace jinabert {

// The newest version of the domain whose operators this library holds. Those of attention stand for functions of version
// 2, with the signatures that files of that version call them by, and files of version 3 too; those of layers began then.
// The two of attention go together: this plan leaves out what only the portable attention reads.
constexpr int kDomainVersion = 3, kAttentionVersion = 2, kLayerVersion = 3;

const onnxruntime::CustomOp* attention_plan_operator();
const onnxruntime::CustomOp* alibi_attention_operator(attention::Precision precision);

// One of a layer's operators; its nodes run on so many threads.
struct LayerOperator : onnxruntime::CustomOp {
  size_t threads;
};

// Both sides of attention, of both variants.
struct LayerOperators {
  explicit LayerOperators(size_t threads);
  LayerOperator operators[4];
};

// The process's only one, for shape inference, to which onnxruntime hands none. Set before the first operator is.
inline const onnxruntime::Api* api_of_process = nullptr;

// An operator with all that ours have in common: CPU, required inputs, and attention's version of the domain.
onnxruntime::CustomOp basic_operator(const char* (*name)(const onnxruntime::CustomOp*));

// How often the native attention has run in this process, and how often one side of it in a native layer.
uint64_t attention_runs();
uint64_t layer_runs();

}  // namespace jinabert
