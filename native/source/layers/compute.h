// The layers on either side of attention, in stages that work on some rows or on some columns of all rows.
//
// Many rows go in blocks, each through all stages, so that what is between them stays in the second cache. Few rows go
// stage by stage, and threads share the columns, so that each reads its part of the weights alone. Both compute a row
// in the same order: it is the same to the last bit in any batch and on any number of threads.
#pragma once

#include "problem.h"
#include "products.h"
#include "rows.h"
#include "stages.h"

namespace jinabert::layers {
namespace {

constexpr size_t kFewRows = 16;           // up to so many for each thread, threads share columns
constexpr size_t kTicketsOfWorker = 2;    // parts that columns are divided into, for each worker
constexpr size_t kApart = 64;             // bytes or floats between rows, against rows that share places in a cache

// Where each buffer begins, in bytes.
struct Places {
  size_t byte_stride, sizes, attended, wide, end;

  Places(size_t rows, size_t hidden_size, size_t width)
      : byte_stride((width > hidden_size ? width : hidden_size) + kApart), sizes(round_up(rows * byte_stride, kAlignment)),
        attended(sizes + round_up(rows * sizeof(float), kAlignment)), wide(attended + (width ? rows * hidden_size * sizeof(float) : 0)),
        end(wide + (width ? rows * (width + kApart) * sizeof(float) : 0)) {}
};

// What is between the stages, of some rows.
struct Buffers {
  uint8_t* bytes;     // what the next product reads
  size_t byte_stride;
  float* sizes;       // (rows), what its results are multiplied by
  float* attended;    // (rows, hidden size)
  float* wide;        // (rows, width)
  size_t wide_stride;

  // In memory for so many rows. Without a width there are only bytes and sizes.
  static Buffers at(char* memory, size_t rows, size_t hidden_size, size_t width) {
    const Places places(rows, hidden_size, width);
    return {reinterpret_cast<uint8_t*>(memory),
            places.byte_stride,
            reinterpret_cast<float*>(memory + places.sizes),
            reinterpret_cast<float*>(memory + places.attended),
            reinterpret_cast<float*>(memory + places.wide),
            width + kApart};
  }

  static size_t bytes_for(size_t rows, size_t hidden_size, size_t width) { return Places(rows, hidden_size, width).end; }

  uint8_t* byte_row(size_t row) const { return bytes + row * byte_stride; }
  ByteRows byte_rows(size_t first) const { return {bytes + first * byte_stride, byte_stride}; }
};

// Rows of a batch that are computed together: they begin at `first`, and have buffers of their own.
struct Block {
  size_t first;
  Buffers buffers;
};

// result (rows, columns) = integers times scale and the row's size, plus bias, and plus `added` unless that is null.
template <typename V>
struct Linear {
  const Matrix& matrix;
  const float* sizes;
  const float* added;
  float* result;
  size_t stride;  // of both

  void operator()(size_t tile, Span rows, const int32_t* sums) const {
    constexpr size_t kLanes = sizeof(typename V::Floats) / sizeof(float);
    const size_t column = tile * kTile, width = least(kTile, matrix.columns - column);
    for (size_t row = rows.begin; row < rows.end; row++, sums += kTile)
      for (size_t i = 0; i < width; i += kLanes) {
        const size_t place = row * stride + column + i;
        const typename V::Floats scaled = V::to_floats(V::load_ints(sums + i)) * V::load(matrix.scales + column + i);
        const typename V::Floats sum = scaled * sizes[row] + V::load(matrix.biases + column + i);
        V::store(result + place, added ? sum + V::load(added + place) : sum);
      }
  }
};

// wide (rows, width) = activation(gate) * up. The row's size is left out of `up`: the next product gives it back.
template <typename V, Activation ACTIVATION>
struct Gated {
  const Matrix& matrix;
  const float* sizes;
  float* wide;
  size_t stride;

  void operator()(size_t tile, Span rows, const int32_t* sums) const {
    constexpr size_t kLanes = sizeof(typename V::Floats) / sizeof(float);
    const float* scales = matrix.scales + tile * kTile;
    for (size_t row = rows.begin; row < rows.end; row++, sums += kTile)
      for (size_t i = 0; i < kPanel; i += kLanes) {
        const typename V::Floats gate = V::to_floats(V::load_ints(sums + i)) * V::load(scales + i) * sizes[row];
        const typename V::Floats up = V::to_floats(V::load_ints(sums + kPanel + i)) * V::load(scales + kPanel + i);
        V::store(wide + row * stride + tile * kPanel + i, (ACTIVATION == Activation::kGelu ? gelu<V>(gate) : relu<V>(gate)) * up);
      }
  }
};

template <typename Arithmetic>
struct ProjectionWork {
  using V = Vectors<Arithmetic::kLanes>;
  enum Stage : size_t { kQuantize, kProduct, kNormalize };

  const Projection& weights;
  const ProjectionRows& rows;

  size_t hidden_size() const { return weights.hidden_size; }
  size_t width() const { return 0; }
  size_t row_count() const { return rows.rows; }
  size_t stages() const { return weights.norms[0].weight || weights.norms[1].weight || weights.norms[2].weight ? 3 : 2; }
  size_t tiles_of_part() const { return divide_up(weights.hidden_size, kTile); }

  // How many tiles of columns a stage has; 0 where it works on whole rows.
  size_t tiles(size_t stage) const { return stage == kProduct ? 3 * tiles_of_part() : 0; }

  void run(size_t stage, const Block& block, Span some, Span tiles) const {
    if (stage == kQuantize) quantize(block, some);
    if (stage == kProduct) multiply_parts(block, some, tiles);
    if (stage == kNormalize) normalize(block, some);
  }

  void quantize(const Block& block, Span some) const {
    for (size_t row = some.begin; row < some.end; row++)
      block.buffers.sizes[row] = quantize_row<V, Arithmetic::kMiddle>(
          rows.hidden + (block.first + row) * weights.hidden_size, weights.smoothing, weights.hidden_size,
          block.buffers.byte_row(row));
  }

  void multiply_parts(const Block& block, Span some, Span tiles) const {
    for (size_t part = 0; part < 3; part++) {
      const size_t first = part * tiles_of_part(), end = first + tiles_of_part();
      const Span own{tiles.begin > first ? tiles.begin : first, least(tiles.end, end)};
      if (own.begin >= own.end) continue;
      const Linear<V> use{weights.parts[part], block.buffers.sizes + some.begin, nullptr,
                          rows.outputs[part] + (block.first + some.begin) * weights.hidden_size, weights.hidden_size};
      multiply<Arithmetic>(block.buffers.byte_rows(some.begin), some.count(), weights.parts[part],
                           {own.begin - first, own.end - first}, use);
    }
  }

  void normalize(const Block& block, Span some) const {
    for (size_t part = 0; part < 3; part++) {
      const Norm& norm = weights.norms[part];
      for (size_t row = some.begin; norm.weight && row < some.end; row++)
        normalize_row<V>(rows.outputs[part] + (block.first + row) * weights.hidden_size, norm.weight, norm.bias,
                         weights.epsilon, weights.hidden_size);
    }
  }
};

template <typename Arithmetic>
struct AfterAttentionWork {
  using V = Vectors<Arithmetic::kLanes>;
  enum Stage : size_t { kQuantizeContext, kOutput, kAttended, kGateUp, kQuantizeWide, kDown, kLast, kStages };

  const AfterAttention& weights;
  const AfterAttentionRows& rows;

  size_t hidden_size() const { return weights.hidden_size; }
  size_t width() const { return weights.width; }
  size_t row_count() const { return rows.rows; }
  size_t stages() const { return kStages; }
  static_assert(kStages <= kMostStages);

  size_t tiles(size_t stage) const {
    if (stage == kGateUp) return weights.width / kPanel;
    return stage == kOutput || stage == kDown ? divide_up(weights.hidden_size, kTile) : 0;
  }

  void run(size_t stage, const Block& block, Span some, Span tiles) const {
    if (stage == kQuantizeContext) quantize_context(block, some);
    if (stage == kOutput) multiply_output(block, some, tiles);
    if (stage == kAttended) normalize_attended(block, some);
    if (stage == kGateUp) multiply_gate_up(block, some, tiles);
    if (stage == kQuantizeWide) quantize_wide(block, some);
    if (stage == kDown) multiply_down(block, some, tiles);
    if (stage == kLast) normalize_last(block, some);
  }

  const float* hidden(const Block& block, size_t row) const { return rows.hidden + (block.first + row) * weights.hidden_size; }
  float* output(const Block& block, size_t row) const { return rows.output + (block.first + row) * weights.hidden_size; }
  float* attended(const Block& block, size_t row) const { return block.buffers.attended + row * weights.hidden_size; }

  void quantize_context(const Block& block, Span some) const {
    for (size_t row = some.begin; row < some.end; row++)
      block.buffers.sizes[row] = quantize_row<V, Arithmetic::kMiddle>(
          rows.context + (block.first + row) * weights.hidden_size, nullptr, weights.hidden_size,
          block.buffers.byte_row(row));
  }

  void multiply_output(const Block& block, Span some, Span tiles) const {
    const Linear<V> use{weights.output, block.buffers.sizes + some.begin, hidden(block, some.begin), attended(block, some.begin),
                        weights.hidden_size};
    multiply<Arithmetic>(block.buffers.byte_rows(some.begin), some.count(), weights.output, tiles, use);
  }

  void normalize_attended(const Block& block, Span some) const {
    for (size_t row = some.begin; row < some.end; row++) {
      float* const x = attended(block, row);
      normalize_row<V>(x, weights.attended.weight, weights.attended.bias, weights.epsilon, weights.hidden_size);
      if (weights.middle.weight) {
        add_row(x, hidden(block, row));
        normalize_row<V>(x, weights.middle.weight, weights.middle.bias, weights.epsilon, weights.hidden_size);
      }
      block.buffers.sizes[row] = quantize_row<V, Arithmetic::kMiddle>(x, weights.smoothing, weights.hidden_size,
                                                                      block.buffers.byte_row(row));
    }
  }

  void add_row(float* x, const float* added) const {
    for (size_t i = 0; i < weights.hidden_size; i += Arithmetic::kLanes) V::store(x + i, V::load(x + i) + V::load(added + i));
  }

  void multiply_gate_up(const Block& block, Span some, Span tiles) const {
    weights.activation == Activation::kGelu ? multiply_gate_up_with<Activation::kGelu>(block, some, tiles)
                                            : multiply_gate_up_with<Activation::kRelu>(block, some, tiles);
  }

  template <Activation ACTIVATION>
  void multiply_gate_up_with(const Block& block, Span some, Span tiles) const {
    const Buffers& buffers = block.buffers;
    const Gated<V, ACTIVATION> use{weights.gate_up, buffers.sizes + some.begin, buffers.wide + some.begin * buffers.wide_stride,
                                   buffers.wide_stride};
    multiply<Arithmetic>(buffers.byte_rows(some.begin), some.count(), weights.gate_up, tiles, use);
  }

  void quantize_wide(const Block& block, Span some) const {
    const Buffers& buffers = block.buffers;
    for (size_t row = some.begin; row < some.end; row++)
      buffers.sizes[row] *= quantize_row<V, Arithmetic::kMiddle>(buffers.wide + row * buffers.wide_stride, nullptr, weights.width,
                                                                 buffers.byte_row(row));
  }

  void multiply_down(const Block& block, Span some, Span tiles) const {
    const Linear<V> use{weights.down, block.buffers.sizes + some.begin, attended(block, some.begin), output(block, some.begin),
                        weights.hidden_size};
    multiply<Arithmetic>(block.buffers.byte_rows(some.begin), some.count(), weights.down, tiles, use);
  }

  void normalize_last(const Block& block, Span some) const {
    for (size_t row = some.begin; row < some.end; row++)
      normalize_row<V>(output(block, row), weights.last.weight, weights.last.bias, weights.epsilon, weights.hidden_size);
  }
};

inline bool are_few(size_t rows, size_t threads) { return threads > 1 && rows <= kFewRows * threads; }

// Few rows: stage by stage.
template <typename Work>
struct FewRows {
  const Work& work;
  Block block;
  size_t counts[kMostStages];

  static void step(void* data, size_t stage, size_t ticket, size_t) {
    const FewRows& few = *static_cast<const FewRows*>(data);
    const size_t rows = few.work.row_count(), tiles = few.work.tiles(stage), count = few.counts[stage];
    const size_t all = tiles ? tiles : rows;
    const Span some{all * ticket / count, all * (ticket + 1) / count};
    few.work.run(stage, few.block, tiles ? Span{0, rows} : some, tiles ? some : Span{0, 0});
  }

  static void run(const Work& work, const Resources& resources) {
    FewRows few{work, {0, Buffers::at(resources.scratch, work.row_count(), work.hidden_size(), work.width())}, {}};
    for (size_t stage = 0; stage < work.stages(); stage++) {
      const size_t tiles = work.tiles(stage);
      few.counts[stage] = tiles ? least(tiles, kTicketsOfWorker * resources.threads) : least(work.row_count(), resources.threads);
    }
    run_stages(step, &few, few.counts, work.stages(), resources.threads, resources.parallel);
  }
};

// Many rows: block by block, each through all stages.
template <typename Work>
struct ManyRows {
  const Work& work;
  const Resources& resources;
  size_t block_rows, blocks;

  static size_t bytes_of_worker(const Work& work, size_t block_rows) {
    return Buffers::bytes_for(block_rows, work.hidden_size(), work.width());
  }

  static void step(void* data, size_t, size_t ticket, size_t worker) {
    const ManyRows& many = *static_cast<const ManyRows*>(data);
    const Work& work = many.work;
    const size_t rows = work.row_count(), begin = rows * ticket / many.blocks, end = rows * (ticket + 1) / many.blocks;
    char* const memory = many.resources.scratch + worker * bytes_of_worker(work, many.block_rows);
    const Block block{begin, Buffers::at(memory, many.block_rows, work.hidden_size(), work.width())};
    for (size_t stage = 0; stage < work.stages(); stage++) work.run(stage, block, {0, end - begin}, {0, work.tiles(stage)});
  }

  static void run(const Work& work, size_t block_rows, const Resources& resources) {
    ManyRows many{work, resources, block_rows, round_up(divide_up(work.row_count(), block_rows), resources.threads)};
    run_stages(step, &many, &many.blocks, 1, least(many.blocks, resources.threads), resources.parallel);
  }
};

template <typename Arithmetic, template <typename> class Work, typename Weights, typename Rows>
struct Computation {
  static size_t scratch_bytes(const Weights& weights, size_t rows, size_t threads) {
    const Rows none{};
    const Work<Arithmetic> work{weights, none};
    if (are_few(rows, threads)) return Buffers::bytes_for(rows, work.hidden_size(), work.width());
    return threads * ManyRows<Work<Arithmetic>>::bytes_of_worker(work, Arithmetic::kBlockRows);
  }

  static void run(const Weights& weights, const Rows& rows, const Resources& resources) {
    const Work<Arithmetic> work{weights, rows};
    if (are_few(rows.rows, resources.threads))
      FewRows<Work<Arithmetic>>::run(work, resources);
    else
      ManyRows<Work<Arithmetic>>::run(work, Arithmetic::kBlockRows, resources);
  }
};

template <typename Arithmetic>
Kernel kernel_of(const char* name) {
  using Before = Computation<Arithmetic, ProjectionWork, Projection, ProjectionRows>;
  using After = Computation<Arithmetic, AfterAttentionWork, AfterAttention, AfterAttentionRows>;
  return {name, Arithmetic::kMiddle, Arithmetic::kAdds16Bits, Before::scratch_bytes, Before::run, After::scratch_bytes, After::run};
}

}  // namespace
}  // namespace jinabert::layers
