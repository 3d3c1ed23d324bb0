// What the library exports: onnxruntime's entry point, and what the Python package asks.
#include <cstring>

#include "attention/problem.h"
#include "onnxruntime/tensors.h"
#include "operators.h"

namespace jinabert {
namespace {

using namespace onnxruntime;

constexpr char kDomain[] = "jinabert";
constexpr char kPrecisionKey[] = "jinabert.attention_precision";  // an entry of the session's configuration
constexpr char kBfloat16[] = "bfloat16";                          // its value; anything else, or none, is float32

// Whether the session may compute attention in bfloat16, as the runtime allows for int8 bundles.
attention::Precision precision_of(const Api* api, const SessionOptions* options) {
  char value[sizeof kBfloat16] = {};
  size_t size = sizeof value;
  if (Status* status = call<Place::kGetSessionConfigEntry>(api, options, &kPrecisionKey[0], &value[0], &size)) {
    release<Place::kReleaseStatus>(api, status);  // no such entry, or a longer one
    return attention::Precision::kFloat32;
  }
  return std::strcmp(value, kBfloat16) == 0 ? attention::Precision::kBfloat16 : attention::Precision::kFloat32;
}

Status* make_domain(const Api* api, attention::Precision precision, CustomOpDomain** domain) {
  if (Status* status = call<Place::kCreateCustomOpDomain>(api, &kDomain[0], domain)) return status;
  if (Status* status = call<Place::kCustomOpDomainAdd>(api, *domain, attention_plan_operator())) return status;
  return call<Place::kCustomOpDomainAdd>(api, *domain, alibi_attention_operator(precision));
}

// A domain must outlive every session that it is added to, so there is one of each precision for the process.
struct Domain {
  CustomOpDomain* domain = nullptr;

  Domain(const Api* api, attention::Precision precision) {
    if (Status* status = make_domain(api, precision, &domain)) {
      release<Place::kReleaseStatus>(api, status);
      domain = nullptr;
    }
  }
};

Status* add_domain(const Api* api, SessionOptions* options) {
  static const Api* const remembered = api_of_process = api;  // once, so that no session reads while another writes
  (void)remembered;
  static const Domain float32(api, attention::Precision::kFloat32);
  static const Domain bfloat16(api, attention::Precision::kBfloat16);
  const Domain& chosen = precision_of(api, options) == attention::Precision::kBfloat16 ? bfloat16 : float32;
  if (!chosen.domain) return fail(api, "the kernels' operators could not be made");
  return call<Place::kAddCustomOpDomain>(api, options, chosen.domain);
}

}  // namespace
}  // namespace jinabert

#if defined(_WIN32)
#define JINABERT_EXPORT extern "C" __declspec(dllexport)
#else
#define JINABERT_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// Called by onnxruntime for every session whose options name this library.
JINABERT_EXPORT jinabert::onnxruntime::Status* RegisterCustomOps(jinabert::onnxruntime::SessionOptions* options,
                                                                 const jinabert::onnxruntime::ApiBase* base) {
  using namespace jinabert;
  const onnxruntime::Api* api = base->GetApi(onnxruntime::kApiVersion);
  return api ? add_domain(api, options) : onnxruntime::fail(base->GetApi(1), "the kernels need onnxruntime 1.23 or later");
}

// The version of the domain whose operators this library holds.
JINABERT_EXPORT int jinabert_domain_version() { return 3; }

// The instruction set that attention runs with on this processor, for heads of this size; "" where it has no kernel.
JINABERT_EXPORT const char* jinabert_attention_kernel(size_t head_size, int bfloat16) {
  const auto precision = bfloat16 ? jinabert::attention::Precision::kBfloat16 : jinabert::attention::Precision::kFloat32;
  const jinabert::attention::Kernel* kernel = jinabert::attention::choose_kernel(head_size, precision);
  return kernel ? kernel->name : "";
}

// How often the native attention has run in this process.
JINABERT_EXPORT uint64_t jinabert_attention_runs() { return jinabert::attention_runs(); }

// The instruction set that int8 layers run with on this processor; "" where there is no kernel.
JINABERT_EXPORT const char* jinabert_layer_kernel(size_t) { return ""; }

// How often native operators of layers have run in this process.
JINABERT_EXPORT uint64_t jinabert_layer_runs() { return 0; }
