// Real libraries in the place of the kernels': what each answers is chosen when it is compiled.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifndef SMALLEST_HEAD
#define SMALLEST_HEAD 32  // channels; larger ones are multiples of it
#endif

// Entries of onnxruntime's table of functions that this needs, by their places.
typedef void* (*CreateStatus)(int code, const char* message);
typedef void* (*GetSessionConfigEntry)(void* options, const char* key, char* value, size_t* size);
enum { kCreateStatus = 0, kGetSessionConfigEntry = 238 };
struct ApiBase {
  void** (*GetApi)(uint32_t version);
};

// Refuses, and says what the session's configuration asks of the kernels.
void* RegisterCustomOps(void* options, const struct ApiBase* base) {
  static const char* const keys[] = {"attention", "attention_precision", "layers", "threads"};
  void** api = base->GetApi(23);
  char message[512] = "this library refuses every session", key[64], value[64];
  size_t length = sizeof "this library refuses every session" - 1;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
    size_t size = sizeof value;
    snprintf(key, sizeof key, "jinabert.%s", keys[i]);
    if (((GetSessionConfigEntry)api[kGetSessionConfigEntry])(options, key, value, &size)) continue;
    length += (size_t)snprintf(message + length, sizeof message - length, ", %s=%s", keys[i], value);
  }
  return ((CreateStatus)api[kCreateStatus])(1, message);
}

int jinabert_domain_version(void) { return VERSION; }

const char* jinabert_attention_kernel(size_t head_size, int bfloat16) {
  (void)bfloat16;
  return head_size % SMALLEST_HEAD ? "" : "avx2";
}

uint64_t jinabert_attention_runs(void) { return 0; }

#ifndef WITHOUT_LAYERS
const char* jinabert_layer_kernel(size_t hidden_size) { return hidden_size % 16 ? "" : "avx_vnni"; }

uint64_t jinabert_layer_runs(void) { return 0; }
#endif
