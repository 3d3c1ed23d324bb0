// Attention over all texts and heads: packs keys and values, then runs blocks of queries, each as one task.
//
// A text's context is computed in the same order whatever else is in the batch and on however many threads, so it is
// the same to the last bit.
#pragma once

#include "certificate.h"
#include "pack.h"

namespace jinabert::attention {
namespace {

// Up to this many tokens of a text, one task packs a head and runs its queries, while all of it is in the cache.
constexpr size_t kShort = 256;
// Up to this many tokens every query reads every key: the certificate would cost more than it saves.
constexpr size_t kDense = 192;
// Most scratch memory of short texts that run side by side: enough of them for many threads.
constexpr size_t kSideBySide = size_t{4} << 20;
// Blocks that one task packs, of longer texts.
constexpr size_t kPackAtOnce = 8;
// Every so many steps outwards, a tile's weights are noted.
constexpr size_t kNoteEvery = 4;

template <typename Arithmetic, size_t HEAD_SIZE>
class Attention {
 public:
  using Rows = QueryRows<Arithmetic, HEAD_SIZE>;
  using PackedBlocks = typename Rows::PackedBlocks;
  using Far = FarBlocks<Arithmetic, HEAD_SIZE>;

  // Texts run one group after the other, in the same memory.
  static size_t scratch_bytes(const Problem& problem) {
    size_t most = 0;
    for (size_t text = 0; text < problem.text_count;) {
      const Group group = group_from(problem, text);
      most = group.bytes > most ? group.bytes : most;
      text = group.end;
    }
    return most;
  }

  static void attend(const Problem& problem, void* scratch, Parallel& parallel) {
    char* memory = static_cast<char*>(scratch);
    for (size_t text = 0; text < problem.text_count;) {
      const Group group = group_from(problem, text);
      if (length(problem, text) > kShort)
        attend_long(problem, text, memory, parallel);
      else
        attend_short(problem, text, group.end, memory, parallel);
      text = group.end;
    }
    const size_t tokens = problem.text_count ? end_row(problem, problem.text_count - 1) : 0;
    memset(problem.context + tokens * problem.channels, 0, (problem.rows - tokens) * problem.channels * sizeof(float));
  }

 private:
  static size_t first_row(const Problem& problem, size_t text) { return static_cast<size_t>(problem.texts[2 * text]); }
  static size_t end_row(const Problem& problem, size_t text) { return static_cast<size_t>(problem.texts[2 * text + 1]); }
  static size_t length(const Problem& problem, size_t text) { return end_row(problem, text) - first_row(problem, text); }
  static size_t head_bytes(size_t length) { return PackedBlocks::bytes(divide_up(length, kBlock)); }

  static size_t text_bytes(const Problem& problem, size_t text) { return problem.heads * head_bytes(length(problem, text)); }

  // A long text by itself, or short ones that run side by side.
  struct Group {
    size_t end;
    size_t bytes;
  };

  static Group group_from(const Problem& problem, size_t first) {
    Group group{first + 1, text_bytes(problem, first)};
    if (length(problem, first) > kShort) return group;
    while (group.end < problem.text_count && length(problem, group.end) <= kShort) {
      const size_t bytes = group.bytes + text_bytes(problem, group.end);
      if (bytes > kSideBySide) break;
      group = {group.end + 1, bytes};
    }
    return group;
  }

  // One head of one text.
  struct Head {
    const Problem& problem;
    size_t first, end;  // rows
    size_t head;
    PackedBlocks blocks;

    Head(const Problem& of, size_t text, size_t number, char* text_memory)
        : problem(of), first(first_row(of, text)), end(end_row(of, text)), head(number),
          blocks(PackedBlocks::at(text_memory + number * head_bytes(end - first), divide_up(end - first, kBlock))) {}

    void pack(size_t begin, size_t stop) const {
      for (size_t block = begin; block < stop; block++)
        Packing<Arithmetic, HEAD_SIZE>::pack(problem, first, end, head * HEAD_SIZE, blocks, block);
    }

    size_t keys_of(size_t block) const { return least(kBlock, end - first - block * kBlock); }

    void run_queries(size_t query_block) const {
      const size_t begin = query_block * kQueries, count = least(kQueries, end - first - begin);
      const typename Arithmetic::Unit unit;
      (void)unit;
      Rows rows;
      rows.begin(problem, first + begin, count, head);
      if (end - first <= kDense) {
        add_blocks(rows, 0, blocks.count);
      } else {
        const size_t own_begin = begin / kBlock, own_end = divide_up(begin + count, kBlock);
        add_blocks(rows, own_begin, own_end);
        add_far_blocks(rows, own_begin, own_end);
      }
      rows.finish(problem, first + begin, head);
    }

    void add_blocks(Rows& rows, size_t begin, size_t stop) const {
      for (size_t block = begin; block < stop; block++)
        for (size_t tile = 0; tile < rows.tiles(); tile++) rows.add(tile, blocks, block, keys_of(block));
    }

    // Goes outwards from the own blocks, right and left in turn, until no tile needs more.
    void add_far_blocks(Rows& rows, size_t own_begin, size_t own_end) const {
      Far far(rows, blocks, end - first, own_begin, own_end);
      bool right[Rows::kTiles], left[Rows::kTiles];  // the tiles that still go on
      for (size_t tile = 0; tile < rows.tiles(); tile++) right[tile] = left[tile] = true;
      const size_t steps_right = blocks.count - own_end, steps_left = own_begin;
      bool any = true;
      for (size_t step = 0; any && step < (steps_right > steps_left ? steps_right : steps_left); step++) {
        any = false;
        for (size_t tile = 0; tile < rows.tiles(); tile++) {
          if (step % kNoteEvery == kNoteEvery - 1) far.note_weights(tile);
          right[tile] = right[tile] && step < steps_right && far.right_matters(tile, step);
          if (right[tile]) rows.add(tile, blocks, own_end + step, keys_of(own_end + step));
        }
        for (size_t tile = 0; tile < rows.tiles(); tile++) {
          left[tile] = left[tile] && step < steps_left && far.left_matters(tile, step);
          if (left[tile]) rows.add(tile, blocks, own_begin - 1 - step, kBlock);
          any = any || right[tile] || left[tile];
        }
      }
    }
  };

  struct Short {
    const Problem& problem;
    size_t first_text;
    char* memory;
  };

  // A task is a head of a text.
  static void attend_short(const Problem& problem, size_t first, size_t end, char* memory, Parallel& parallel) {
    Short work{problem, first, memory};
    parallel.run(
        [](void* data, size_t index) {
          const Short& work = *static_cast<Short*>(data);
          size_t text = work.first_text;
          char* memory = work.memory;
          for (size_t skip = index / work.problem.heads; skip; skip--, text++) memory += text_bytes(work.problem, text);
          const Head head(work.problem, text, index % work.problem.heads, memory);
          head.pack(0, head.blocks.count);
          for (size_t block = 0; block * kQueries < head.end - head.first; block++) head.run_queries(block);
        },
        &work, (end - first) * problem.heads);
  }

  struct Long {
    const Problem& problem;
    size_t text;
    char* memory;
    size_t tasks_of_head;
  };

  // A task is some blocks of keys of a head, then a block of queries of a head.
  static void attend_long(const Problem& problem, size_t text, char* memory, Parallel& parallel) {
    const size_t tokens = length(problem, text);
    Long packing{problem, text, memory, divide_up(divide_up(tokens, kBlock), kPackAtOnce)};
    parallel.run(
        [](void* data, size_t index) {
          const Long& work = *static_cast<Long*>(data);
          const Head head(work.problem, work.text, index / work.tasks_of_head, work.memory);
          const size_t begin = index % work.tasks_of_head * kPackAtOnce;
          head.pack(begin, least(begin + kPackAtOnce, head.blocks.count));
        },
        &packing, problem.heads * packing.tasks_of_head);
    Long queries{problem, text, memory, divide_up(tokens, kQueries)};
    parallel.run(
        [](void* data, size_t index) {
          const Long& work = *static_cast<Long*>(data);
          const Head head(work.problem, work.text, index / work.tasks_of_head, work.memory);
          head.run_queries(index % work.tasks_of_head);
        },
        &queries, problem.heads * queries.tasks_of_head);
  }
};

// The two head sizes of the family.
template <typename Arithmetic>
Kernel kernel_of(const char* name, size_t head_size) {
  if (head_size == 32) return {name, Attention<Arithmetic, 32>::scratch_bytes, Attention<Arithmetic, 32>::attend};
  return {name, Attention<Arithmetic, 64>::scratch_bytes, Attention<Arithmetic, 64>::attend};
}

}  // namespace
}  // namespace jinabert::attention
