// The custom operators of the `jinabert` domain, as onnxruntime takes them.
#pragma once

#include <cstdint>

#include "attention/problem.h"
#include "onnxruntime/api.h"

namespace jinabert {

// Both stand for functions of version 2 of the domain, with the signatures that files of that version call them by.
// They go together: this plan leaves out what only the portable attention reads.
constexpr int kDomainVersion = 2;

const onnxruntime::CustomOp* attention_plan_operator();
const onnxruntime::CustomOp* alibi_attention_operator(attention::Precision precision);

// The process's only one, for shape inference, to which onnxruntime hands none. Set before the first operator is.
inline const onnxruntime::Api* api_of_process = nullptr;

// An operator with all that ours have in common: CPU, required inputs, and this version of the domain.
onnxruntime::CustomOp basic_operator(const char* (*name)(const onnxruntime::CustomOp*));

// How often the native attention has run in this process.
uint64_t attention_runs();

}  // namespace jinabert
