#include "attention_plan.h"

#include <algorithm>

namespace jinabert::attention_plan {
namespace {

bool has_token(const int64_t* text, int64_t sequence) {
  return std::any_of(text, text + sequence, [](int64_t seen) { return seen > 0; });
}

}  // namespace

Sizes count(const int64_t* mask, int64_t batch, int64_t sequence) {
  int64_t tokens = 0;
  for (int64_t text = 0; text < batch; text++) {
    const int64_t* own = mask + text * sequence;
    const int64_t seen = std::count_if(own, own + sequence, [](int64_t value) { return value > 0; });
    tokens += seen || sequence == 0 ? seen : 1;
  }
  const int64_t blocks = (tokens + kTokenBlock - 1) / kTokenBlock;
  return {tokens, blocks, blocks ? (tokens + blocks - 1) / blocks : 0};
}

void fill(const int64_t* mask, int64_t batch, int64_t sequence, int64_t* source, float* positions, int64_t* texts) {
  int64_t token = 0;
  for (int64_t text = 0; text < batch; text++) {
    const int64_t* own = mask + text * sequence;
    const bool keeps_first = !has_token(own, sequence);
    texts[2 * text] = token;
    for (int64_t column = 0; column < sequence; column++) {
      if (own[column] <= 0 && !(keeps_first && column == 0)) continue;
      source[token] = text * sequence + column;
      positions[token] = static_cast<float>(column);
      token++;
    }
    texts[2 * text + 1] = token;
  }
}

}  // namespace jinabert::attention_plan
