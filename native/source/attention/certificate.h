// Which far blocks of keys a row may leave out: at most kEpsilon of its weight is lost, proved for every row.
//
// By Cauchy and Schwarz, with centre c and radius r of the n keys of a block, and d the distance from query i to the
// nearest of them, the block weighs at most
//
//   exp2(q_i . c + |q_i| r - m d) min(n, 1 / (1 - exp2(-m)))
//
// in row i (scores and slope m in units of log2; all keys of a far block lie on one side of the query, at different
// distances, so their factors are at most a geometric series). These bounds are summed from each end of the text
// inwards. Rows go outwards from the queries' own blocks; a side ends for a tile at the first block where, in each of
// its rows, the bound of all that lies beyond is at most kAllowed of the weight that the row has by then. Weights only
// grow, so an old sum is a valid lower bound of the whole row's.
//
// Rounding. The sums of products behind a bound are covered by the margin of the radius (pack.h). Its exponent takes up
// to four more sums of numbers up to 2^18, each rounded by at most 2^-6 (larger scores have lost such fractions
// themselves): below 0.1 in all, a factor of 1.08. What exp2 and the sums of bounds and of weights round is below 1 %.
// Tiles that are skipped because no weight reaches 2^kNothing of the row's reference, which is a score of the row, or
// less, cost at most 2^20 keys * 2^-50 = 1e-9 of a row. kAllowed keeps 12 % back for all of this.
#pragma once

#include "query_rows.h"
#include "transpose.h"

namespace jinabert::attention {
namespace {

constexpr float kEpsilon = 1e-7f;             // most of a row's weight that is left out
constexpr float kAllowed = 0.44f * kEpsilon;  // at each end

// Bounds are kept for every `stride`-th block, so that their number is limited however long the text is.
constexpr size_t kMostBounds = 128;

// Powers of 2 at which bounds are cut off, and factors of weights. A bound that was cut off exceeds any allowed weight,
// 2^kStale * 2^20 keys * 2^kMostMoved * kAllowed, so that it never ends a side.
constexpr float kMostBound = 100.0f, kMostMoved = 64.0f;

template <typename Arithmetic, size_t HEAD_SIZE>
class FarBlocks {
 public:
  using Rows = QueryRows<Arithmetic, HEAD_SIZE>;
  using PackedBlocks = typename Rows::PackedBlocks;
  using V = typename Rows::V;
  using Floats = typename V::Floats;

  // `rows` have taken in their own blocks, [own_begin, own_end).
  FarBlocks(const Rows& rows, const PackedBlocks& blocks, size_t keys, size_t own_begin, size_t own_end)
      : rows_(rows), blocks_(blocks), keys_(keys), stride_(divide_up(blocks.count, kMostBounds)),
        series_(1.0f / (1.0f - exp2f(-rows.slope))) {
    transpose_queries();
    Floats sums[kVectors] = {};
    for (size_t block = blocks.count; block-- > own_end;) {
      add_bound(block, blocks.block_positions(block)[0], sums);
      if ((block - own_end) % stride_ == 0) keep(sums, right_[(block - own_end) / stride_]);
    }
    for (Floats& sum : sums) sum = Floats{};
    for (size_t tile = 0; tile < rows.tiles(); tile++) note_weights(tile);
    for (size_t block = 0; block < own_begin; block++) {
      add_bound(block, blocks.block_positions(block)[kBlock - 1], sums);
      if ((own_begin - 1 - block) % stride_ == 0) keep(sums, left_[(own_begin - 1 - block) / stride_]);
    }
  }

  // Whether a row of the tile may need the block that lies `steps` beyond its own ones, or one farther out.
  bool right_matters(size_t tile, size_t steps) const { return steps % stride_ || matters(tile, right_[steps / stride_]); }
  bool left_matters(size_t tile, size_t steps) const { return steps % stride_ || matters(tile, left_[steps / stride_]); }

  // Takes note of what the rows of a tile weigh by now: adding up lanes takes too long to be done at every step.
  void note_weights(size_t tile) {
    const size_t first = tile * kTileRows, end = least(rows_.count, first + kTileRows);
    for (size_t row = first; row < end; row++) {
      const float moved = rows_.references[row] - references_[row];  // since the bounds were computed
      const float factor = moved == 0.0f ? 1.0f : exp2f(moved < kMostMoved ? moved : kMostMoved);
      weights_[row] = rows_.weight(row) * factor;
    }
  }

 private:
  static constexpr size_t kVectors = kQueries / Rows::kLanes;
  static constexpr size_t kTileRows = Rows::kTileRows;
  using Bounds = float[kQueries];

  // Queries by channel, so that one vector holds a channel of many rows; rows that are not there can need nothing.
  void transpose_queries() {
    for (size_t first = 0; first < kQueries; first += Rows::kLanes) {
      const size_t real = rows_.count > first ? rows_.count - first : 0;
      Floats squares{};
      for (size_t channel = 0; channel < HEAD_SIZE; channel += Rows::kLanes)
        transpose<Rows::kLanes>(rows_.queries + first * HEAD_SIZE + channel, HEAD_SIZE, real,
                                by_channel_ + channel * kQueries + first, kQueries);
      for (size_t channel = 0; channel < HEAD_SIZE; channel++) {
        const Floats x = V::load(by_channel_ + channel * kQueries + first);
        squares += x * x;
      }
      V::store(lengths_ + first, squares);
    }
    for (size_t row = 0; row < kQueries; row++) {
      const bool real = row < rows_.count;
      lengths_[row] = sqrtf(lengths_[row]);
      positions_[row] = rows_.positions[real ? row : 0];
      references_[row] = real ? rows_.references[row] : -kLowest;
    }
  }

  // Adds, to the sum of every row, the most that a block can weigh relative to the row's reference.
  void add_bound(size_t block, float nearest, Floats* sums) const {
    const float keys = static_cast<float>(least(kBlock, keys_ - block * kBlock));
    const float most = log2f(keys < series_ ? keys : series_);
    Floats bounds[kVectors];
    for (size_t v = 0; v < kVectors; v++) {
      const size_t row = v * Rows::kLanes;
      bounds[v] = V::load(lengths_ + row) * blocks_.radii[block] - V::load(references_ + row) + most -
                  V::absolute(V::load(positions_ + row) - nearest) * rows_.slope;
    }
    const float* centre = blocks_.centre(block);
    for (size_t channel = 0; channel < HEAD_SIZE; channel++)
      for (size_t v = 0; v < kVectors; v++)
        bounds[v] += V::load(by_channel_ + channel * kQueries + v * Rows::kLanes) * centre[channel];
    for (size_t v = 0; v < kVectors; v++) sums[v] += V::exp2(V::at_most(bounds[v], kMostBound));
  }

  static void keep(const Floats* sums, Bounds& to) {
    for (size_t v = 0; v < kVectors; v++) V::store(to + v * Rows::kLanes, sums[v]);
  }

  bool matters(size_t tile, const Bounds& bounds) const {
    const size_t first = tile * kTileRows, end = least(rows_.count, first + kTileRows);
    for (size_t row = first; row < end; row++)
      if (!(bounds[row] <= kAllowed * weights_[row])) return true;  // also where one of them is no number
    return false;
  }

  const Rows& rows_;
  const PackedBlocks& blocks_;
  const size_t keys_;    // of the text
  const size_t stride_;
  const float series_;   // what the weights of keys that stand ever farther away add up to, relative to the nearest
  float by_channel_[HEAD_SIZE * kQueries];
  float lengths_[kQueries];
  float positions_[kQueries];
  float references_[kQueries];  // of the rows, when the bounds were computed
  float weights_[kQueries];     // of the rows when last noted, relative to these references
  Bounds right_[kMostBounds];
  Bounds left_[kMostBounds];
};

}  // namespace
}  // namespace jinabert::attention
