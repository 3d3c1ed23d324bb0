// What the library exports: onnxruntime's entry point, and what the Python package asks.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "attention/problem.h"
#include "layers/problem.h"
#include "onnxruntime/tensors.h"
#include "operators.h"

namespace jinabert {
namespace {

using namespace onnxruntime;

constexpr char kDomain[] = "jinabert";
constexpr char kThreadsKey[] = "jinabert.threads";  // an entry of the session's configuration, as are the next
constexpr size_t kMostThreads = 1024;

// What a session's configuration asks for.
struct Configuration {
  bool attention, layers;
  attention::Precision precision;  // bfloat16 where it is allowed, as the runtime allows it for int8 bundles
  size_t threads;

  bool operator==(const Configuration& other) const {
    return attention == other.attention && layers == other.layers && precision == other.precision && threads == other.threads;
  }
};

// Whether an entry has this value; `otherwise` where there is no such entry.
bool is_entry(const Api* api, const SessionOptions* options, const char* key, const char* expected, bool otherwise) {
  char value[16] = {};
  size_t size = sizeof value;
  if (Status* status = call<Place::kGetSessionConfigEntry>(api, options, key, &value[0], &size)) {
    release<Place::kReleaseStatus>(api, status);  // no such entry, or a longer one
    return otherwise;
  }
  return !std::strcmp(value, expected);
}

size_t read_threads(const Api* api, const SessionOptions* options) {
  char value[16] = {};
  size_t size = sizeof value;
  if (Status* status = call<Place::kGetSessionConfigEntry>(api, options, &kThreadsKey[0], &value[0], &size)) {
    release<Place::kReleaseStatus>(api, status);
    return 1;
  }
  const unsigned long threads = std::strtoul(value, nullptr, 10);
  return threads < 1 ? 1 : threads > kMostThreads ? kMostThreads : threads;
}

Configuration read_configuration(const Api* api, const SessionOptions* options) {
  const bool bfloat16 = is_entry(api, options, "jinabert.attention_precision", "bfloat16", false);
  return {is_entry(api, options, "jinabert.attention", "native", true), is_entry(api, options, "jinabert.layers", "native", false),
          bfloat16 ? attention::Precision::kBfloat16 : attention::Precision::kFloat32, read_threads(api, options)};
}

// The operators of one configuration.
struct Domain {
  Configuration configuration;
  LayerOperators layers;
  CustomOpDomain* domain = nullptr;

  explicit Domain(const Configuration& of) : configuration(of), layers(of.threads) {}

  Status* make(const Api* api) {
    if (Status* status = call<Place::kCreateCustomOpDomain>(api, &kDomain[0], &domain)) return status;
    if (configuration.attention) {
      if (Status* status = call<Place::kCustomOpDomainAdd>(api, domain, attention_plan_operator())) return status;
      if (Status* status = call<Place::kCustomOpDomainAdd>(api, domain, alibi_attention_operator(configuration.precision))) return status;
    }
    for (const LayerOperator& op : layers.operators)
      if (configuration.layers)
        if (Status* status = call<Place::kCustomOpDomainAdd>(api, domain, static_cast<const CustomOp*>(&op))) return status;
    return nullptr;
  }
};

// A domain must outlive every session that it is added to, so each configuration's is made once and stays.
Status* add_domain(const Api* api, SessionOptions* options) {
  static std::mutex mutex;
  static std::vector<std::unique_ptr<Domain>>& domains = *new std::vector<std::unique_ptr<Domain>>;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!api_of_process) api_of_process = api;  // once, so that no session reads while another writes
  const Configuration configuration = read_configuration(api, options);
  for (const auto& made : domains)
    if (made->configuration == configuration) return call<Place::kAddCustomOpDomain>(api, options, made->domain);
  auto made = std::make_unique<Domain>(configuration);
  if (Status* status = made->make(api)) return status;
  domains.push_back(std::move(made));
  return call<Place::kAddCustomOpDomain>(api, options, domains.back()->domain);
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
  if (!api) return onnxruntime::fail(base->GetApi(1), "the kernels need onnxruntime 1.23 or later");
  try {
    return add_domain(api, options);
  } catch (...) {  // none may leave through onnxruntime, which has another standard library
    return onnxruntime::fail(api, "memory has run out");
  }
}

// The newest version of the domain whose operators this library holds.
JINABERT_EXPORT int jinabert_domain_version() { return jinabert::kDomainVersion; }

// The instruction set that attention runs with on this processor, for heads of this size; "" where it has no kernel.
JINABERT_EXPORT const char* jinabert_attention_kernel(size_t head_size, int bfloat16) {
  const auto precision = bfloat16 ? jinabert::attention::Precision::kBfloat16 : jinabert::attention::Precision::kFloat32;
  const jinabert::attention::Kernel* kernel = jinabert::attention::choose_kernel(head_size, precision);
  return kernel ? kernel->name : "";
}

// How often the native attention has run in this process.
JINABERT_EXPORT uint64_t jinabert_attention_runs() { return jinabert::attention_runs(); }

// The instruction set that layers run with on this processor, for this hidden size; "" where there is no kernel.
JINABERT_EXPORT const char* jinabert_layer_kernel(size_t hidden_size) {
  const jinabert::layers::Kernel* kernel = jinabert::layers::choose_kernel(hidden_size);
  return kernel ? kernel->name : "";
}

// How often one side of attention in a native layer has run in this process.
JINABERT_EXPORT uint64_t jinabert_layer_runs() { return jinabert::layer_runs(); }
