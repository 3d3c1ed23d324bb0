// The online softmax of a block of queries over blocks of keys, in tiles of a few queries and one block of keys.
//
// Scores are kept in units of log2, so that weights are powers of 2. Each row holds a reference, the largest score when
// it was last looked at, and weights relative to it; it is moved only once a score exceeds it by kStale, which is rare.
#pragma once

#include "blocks.h"
#include "problem.h"

namespace jinabert::attention {
namespace {

constexpr size_t kQueries = 96;   // queries of a block, whole tiles of 6 or 16: their state stays in the second cache
constexpr float kStale = 8.0f;    // by how many powers of 2 a weight may exceed that of the reference
constexpr float kNothing = -50.0f;  // the certificate allows for weights below 2^-50 of the reference's to be skipped
constexpr float kLowest = -1e30f;  // below any score
constexpr float kLog2E = 1.44269504088896340736f;

template <typename Arithmetic, size_t HEAD_SIZE>
struct alignas(kAlignment) QueryRows {
  using Element = typename Arithmetic::Element;
  using V = Vectors<Arithmetic::kLanes>;
  using Floats = typename V::Floats;
  using PackedBlocks = Blocks<Element, HEAD_SIZE>;
  static constexpr size_t kLanes = Arithmetic::kLanes;
  static constexpr size_t kTileRows = Arithmetic::kTileRows;  // queries of a tile, what registers hold sums of
  static constexpr size_t kTiles = kQueries / kTileRows;
  static_assert(kQueries % kTileRows == 0);

  float queries[kQueries * HEAD_SIZE];  // times scale and log2 e
  float contexts[kQueries * HEAD_SIZE];
  float weights[kQueries * kLanes];     // sums by lane
  float scores[kTileRows * kBlock];     // of one tile
  Element factors[kQueries * HEAD_SIZE];       // the queries, as products take them
  Element tile_weights[kTileRows * kBlock];    // of one tile, as products take them
  float references[kQueries];
  float positions[kQueries];
  size_t count;                         // of the queries, at most kQueries
  float slope;                          // times log2 e

  // Takes the queries from row `first` of the problem on, of the head whose first channel is `channel`.
  void begin(const Problem& problem, size_t first, size_t number, size_t head) {
    count = number;
    slope = problem.slopes[head] * kLog2E;
    const Floats scale = V::all(problem.scale * kLog2E);
    const size_t computed = Arithmetic::kWholeTiles ? round_up(count, kTileRows) : count;
    for (size_t row = 0; row < computed; row++) {
      const size_t real = first + least(row, count - 1);  // rows behind the last repeat it
      const float* from = problem.query + real * problem.channels + head * HEAD_SIZE;
      positions[row] = problem.positions[real];
      const float* own_key = problem.key + real * problem.channels + head * HEAD_SIZE;
      Floats own{};  // at most the score of the own key, however products round it: its tile is never skipped
      for (size_t channel = 0; channel < HEAD_SIZE; channel += kLanes) {
        const Floats query = V::load(from + channel) * scale, product = query * V::load(own_key + channel);
        V::store(queries + row * HEAD_SIZE + channel, query);
        own += product - V::absolute(product) * Arithmetic::kRadiusMargin;
      }
      references[row] = V::sum_of(own);
    }
    Arithmetic::convert(factors, queries, computed * HEAD_SIZE);
    memset(contexts, 0, computed * HEAD_SIZE * sizeof(float));
    memset(weights, 0, computed * kLanes * sizeof(float));
  }

  size_t tiles() const { return divide_up(count, kTileRows); }

  float weight(size_t row) const { return V::sum_of(V::load(weights + row * kLanes)); }

  // Adds the first `keys` keys of a block to the rows of a tile.
  void add(size_t tile, const PackedBlocks& blocks, size_t block, size_t keys) {
    const size_t row = tile * kTileRows;
    if constexpr (!Arithmetic::kWholeTiles) {
      switch (count - row) {
        case 1: return add_rows<1>(row, blocks, block, keys);
        case 2: return add_rows<2>(row, blocks, block, keys);
        case 3: return add_rows<3>(row, blocks, block, keys);
        case 4: return add_rows<4>(row, blocks, block, keys);
        case 5: return add_rows<5>(row, blocks, block, keys);
      }
    }
    add_rows<kTileRows>(row, blocks, block, keys);
  }

  // Writes the contexts from row `first` of the problem on.
  void finish(const Problem& problem, size_t first, size_t head) const {
    for (size_t row = 0; row < count; row++) {
      const Floats share = V::all(1.0f / weight(row));
      float* to = problem.context + (first + row) * problem.channels + head * HEAD_SIZE;
      for (size_t channel = 0; channel < HEAD_SIZE; channel += kLanes)
        V::store(to + channel, V::load(contexts + row * HEAD_SIZE + channel) * share);
    }
  }

 private:
  template <size_t ROWS>
  void add_rows(size_t first, const PackedBlocks& blocks, size_t block, size_t keys) {
    const size_t width = round_up(keys, Arithmetic::kKeys);
    const float* key_positions = blocks.block_positions(block);
    Arithmetic::template multiply<ROWS, false>(factors + first * HEAD_SIZE, HEAD_SIZE, blocks.keys(block), kBlock,
                                               scores, kBlock, HEAD_SIZE, width);
    Floats sums[ROWS];
    float excess = weigh<ROWS>(first, key_positions, width, sums);
    if (excess < kNothing && !has_nan<ROWS>(sums)) return;  // what is no number must reach the context
    if (excess > kStale) {
      for (size_t row = 0; row < ROWS; row++) move_reference(first + row, row, key_positions, width);
      weigh<ROWS>(first, key_positions, width, sums);
    }
    for (size_t row = 0; row < ROWS; row++) {
      float* to = weights + (first + row) * kLanes;
      V::store(to, V::load(to) + sums[row]);
    }
    Arithmetic::template multiply<ROWS, true>(tile_weights, kBlock, blocks.values(block), HEAD_SIZE,
                                              contexts + first * HEAD_SIZE, HEAD_SIZE, width, HEAD_SIZE);
  }

  template <size_t ROWS>
  static bool has_nan(const Floats* sums) {
    Floats total = sums[0];
    for (size_t row = 1; row < ROWS; row++) total += sums[row];
    const float sum = V::sum_of(total);
    return sum != sum;
  }

  // Scores with their bias, of the keys from `key` on.
  Floats biased(size_t row, size_t tile_row, const float* key_positions, size_t key) const {
    const Floats distance = V::absolute(V::load(key_positions + key) - positions[row]);
    return V::load(scores + tile_row * kBlock + key) - distance * slope;
  }

  // Turns the scores of a tile into weights and, by lane, their sums; returns by how much the largest score exceeds its
  // row's reference. Where that is more than kStale the weights are of no use: it is cheaper to find out afterwards.
  template <size_t ROWS>
  float weigh(size_t first, const float* key_positions, size_t width, Floats* sums) {
    Floats excess = V::all(kLowest);
    for (size_t row = 0; row < ROWS; row++) {
      const float reference = references[first + row];
      sums[row] = Floats{};
      for (size_t key = 0; key < width; key += kLanes) {
        const Floats relative = biased(first + row, row, key_positions, key) - reference;
        const Floats weight = V::template exp2<Arithmetic::kExponentialDegree>(relative);
        excess = V::larger(relative, excess);  // a NaN hides no other score
        sums[row] += weight;
        Arithmetic::store(tile_weights + row * kBlock + key, weight);
      }
    }
    return V::largest_of(excess);
  }

  // Raises the reference of a row to its largest score, and what was weighed so far accordingly.
  void move_reference(size_t row, size_t tile_row, const float* key_positions, size_t width) {
    Floats largest = V::all(references[row]);
    for (size_t key = 0; key < width; key += kLanes)
      largest = V::larger(biased(row, tile_row, key_positions, key), largest);
    const float reference = V::largest_of(largest);
    if (!(reference > references[row])) return;
    const float factor = exp2f(references[row] - reference);
    references[row] = reference;
    V::store(weights + row * kLanes, V::load(weights + row * kLanes) * factor);
    float* context = contexts + row * HEAD_SIZE;
    for (size_t channel = 0; channel < HEAD_SIZE; channel += kLanes)
      V::store(context + channel, V::load(context + channel) * factor);
  }
};

}  // namespace
}  // namespace jinabert::attention
