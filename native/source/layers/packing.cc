#include "packing.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "../lanes.h"

namespace jinabert::layers {
namespace {

typedef int8_t Bytes __attribute__((vector_size(16)));
typedef int16_t Pairs __attribute__((vector_size(16)));
typedef int16_t Sums __attribute__((vector_size(32)));  // of a panel's columns
typedef int32_t WideSums __attribute__((vector_size(64)));

constexpr size_t kPanelsOfTask = 24;  // 384 columns: long enough stretches of a row to be read ahead of use
constexpr int16_t kMostOfPair = 128;  // times 255 it is below 2^15
constexpr float kStep = 1.0f / 127;  // of a row of size 1

size_t padded_columns(const StoredMatrix& stored, size_t count) { return round_up(count * stored.columns, kTile); }

size_t panels_bytes(const StoredMatrix& stored, size_t count) { return stored.depth * padded_columns(stored, count); }

// One of `count` stored matrices, and the memory of the packed one.
struct Packing {
  const StoredMatrix& stored;
  size_t count, place;
  int middle;
  int8_t* panels;
  int32_t* starts;
  float* scales;
  float* biases;
  std::atomic<bool>& fits_16_bits;

  size_t tasks() const { return (stored.columns / kPanel + kPanelsOfTask - 1) / kPanelsOfTask; }

  void pack_panels(size_t task) const {
    const size_t end = std::min((task + 1) * kPanelsOfTask, stored.columns / kPanel);
    WideSums sums[kPanelsOfTask] = {};
    Sums wide{};  // not 0 where a pair is
    const size_t first = task * kPanelsOfTask;
    for (size_t group = 0; group < stored.depth / kGroup; group++)
      for (size_t panel = first; panel < end; panel++) sums[panel - first] += pack_group(group, panel, &wide);
    for (size_t panel = first; panel < end; panel++) store_columns(panel, sums[panel - first]);
    for (size_t i = 0; i < kPanel; i++)
      if (wide[i]) fits_16_bits = false;
  }

  // Four rows of a panel -> their bytes, column by column; returns the columns' sums, and notes pairs beyond kMostOfPair.
  WideSums pack_group(size_t group, size_t panel, Sums* wide) const {
    Bytes rows[kGroup];
    for (size_t i = 0; i < kGroup; i++) {
      std::memcpy(&rows[i], stored.weight + (group * kGroup + i) * stored.stride + panel * kPanel, sizeof rows[i]);
    }
    const Sums pairs[] = {__builtin_convertvector(rows[0], Sums) + __builtin_convertvector(rows[1], Sums),
                          __builtin_convertvector(rows[2], Sums) + __builtin_convertvector(rows[3], Sums)};
    for (const Sums& pair : pairs) *wide |= (pair > kMostOfPair) | (pair < -kMostOfPair);
    int8_t* to = panels + (panel * count + place) * stored.depth * kPanel + group * kGroup * kPanel;
    const Pairs low[] = {low_halves(rows[0], rows[1]), low_halves(rows[2], rows[3])};
    const Pairs high[] = {high_halves(rows[0], rows[1]), high_halves(rows[2], rows[3])};
    const Pairs packed[] = {
        __builtin_shufflevector(low[0], low[1], 0, 8, 1, 9, 2, 10, 3, 11),
        __builtin_shufflevector(low[0], low[1], 4, 12, 5, 13, 6, 14, 7, 15),
        __builtin_shufflevector(high[0], high[1], 0, 8, 1, 9, 2, 10, 3, 11),
        __builtin_shufflevector(high[0], high[1], 4, 12, 5, 13, 6, 14, 7, 15),
    };
    std::memcpy(to, packed, sizeof packed);
    return __builtin_convertvector(pairs[0] + pairs[1], WideSums);
  }

  static Pairs low_halves(Bytes a, Bytes b) {
    return (Pairs)__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }
  static Pairs high_halves(Bytes a, Bytes b) {
    return (Pairs)__builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }

  void store_columns(size_t panel, WideSums sums) const {
    const size_t to = (panel * count + place) * kPanel;
    for (size_t i = 0; i < kPanel; i++) {
      starts[to + i] = -middle * sums[i];
      scales[to + i] = kStep * stored.scales[panel * kPanel + i];
      biases[to + i] = stored.biases ? stored.biases[panel * kPanel + i] : 0.0f;
    }
  }
};

}  // namespace

size_t packed_bytes(const StoredMatrix& stored, size_t count) {
  return panels_bytes(stored, count) + padded_columns(stored, count) * (sizeof(int32_t) + 2 * sizeof(float));
}

Matrix pack(const StoredMatrix* stored, size_t count, int middle, char* memory, Parallel& parallel, bool* fits_16_bits) {
  const size_t columns = padded_columns(*stored, count), used = count * stored->columns;
  int8_t* panels = reinterpret_cast<int8_t*>(memory);
  int32_t* starts = reinterpret_cast<int32_t*>(memory + panels_bytes(*stored, count));
  float* scales = reinterpret_cast<float*>(starts + columns);
  float* biases = scales + columns;
  std::atomic<bool> fits{true};
  struct Both {
    Packing packings[2];
    size_t count;
  } both{{{stored[0], count, 0, middle, panels, starts, scales, biases, fits},
          {stored[count - 1], count, count - 1, middle, panels, starts, scales, biases, fits}},
         count};
  parallel.run(
      [](void* data, size_t index) {
        const Both& both = *static_cast<Both*>(data);
        both.packings[index % both.count].pack_panels(index / both.count);
      },
      &both, count * both.packings[0].tasks());
  std::memset(panels + used * stored->depth, 0, (columns - used) * stored->depth);
  std::memset(starts + used, 0, (columns - used) * sizeof *starts);
  std::memset(scales + used, 0, (columns - used) * sizeof *scales);
  std::memset(biases + used, 0, (columns - used) * sizeof *biases);
  *fits_16_bits = fits;
  return {panels, starts, scales, biases, stored->depth, used};
}

}  // namespace jinabert::layers
