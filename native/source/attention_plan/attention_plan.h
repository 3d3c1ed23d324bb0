// Which token of a padded batch goes where: what the portable AttentionPlan gives, but for what only its own attention
// reads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jinabert::attention_plan {

constexpr int64_t kTokenBlock = 512;  // most tokens of one block of the feed-forward, as in the portable plan

struct Sizes {
  int64_t tokens;       // real ones, and one for each text without any
  int64_t blocks;       // of tokens, for the feed-forward
  int64_t block_length;
  int64_t rows() const { return blocks * block_length; }  // tokens, and padding at the end
};

// Counts what a mask (batch, sequence) comes to.
Sizes count(const int64_t* mask, int64_t batch, int64_t sequence);

// Fills, for a mask of these sizes:
//   source (tokens): place of each token in the padded batch, flattened; a text without any keeps its first place.
//   positions (tokens): the same, as a column of its text.
//   texts (batch, 2): first token and end of each text.
void fill(const int64_t* mask, int64_t batch, int64_t sequence, int64_t* source, float* positions, int64_t* texts);

}  // namespace jinabert::attention_plan
