// How the keys and values of one head of one text are packed: in blocks, each in one piece of memory.
#pragma once

#include "../lanes.h"
#include "problem.h"

namespace jinabert::attention {
namespace {

constexpr size_t kBlock = 64;  // keys of a block

// The position of keys that are not there, in the last block of a text. Their scores come out so low that they weigh
// nothing, and are finite: no infinity has to be dealt with anywhere.
constexpr float kNowhere = 1e30f;

// The blocks of one head of one text.
//
// keys: (HEAD_SIZE, kBlock) of a block: a channel of all keys side by side. values: (kBlock, HEAD_SIZE). With bfloat16
// both are of pairs: (HEAD_SIZE / 2, kBlock, 2) and (kBlock / 2, HEAD_SIZE, 2).
// centres, radii: the mean of a block's keys, and the distance from it that none of them exceeds.
template <typename Element, size_t HEAD_SIZE>
struct Blocks {
  Element* elements;  // keys, then values, of one block after the other
  float* positions;   // (blocks, kBlock)
  float* centres;     // (blocks, HEAD_SIZE)
  float* radii;       // (blocks)
  size_t count;

  static constexpr size_t kElements = kBlock * HEAD_SIZE;  // of a block's keys, and of its values

  Element* keys(size_t block) const { return elements + block * 2 * kElements; }
  Element* values(size_t block) const { return keys(block) + kElements; }
  float* block_positions(size_t block) const { return positions + block * kBlock; }
  float* centre(size_t block) const { return centres + block * HEAD_SIZE; }

  // Bytes of one block with all that belongs to it, rounded so that every part begins at a multiple of kAlignment.
  static constexpr size_t kBytes = 2 * kElements * sizeof(Element) + (kBlock + HEAD_SIZE) * sizeof(float);
  static constexpr size_t bytes(size_t count) {
    return count * kBytes + (count * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
  }

  static Blocks at(void* memory, size_t count) {
    Blocks blocks;
    blocks.count = count;
    blocks.elements = static_cast<Element*>(memory);
    blocks.positions = reinterpret_cast<float*>(blocks.elements + count * 2 * kElements);
    blocks.centres = blocks.positions + count * kBlock;
    blocks.radii = blocks.centres + count * HEAD_SIZE;
    return blocks;
  }
};

}  // namespace
}  // namespace jinabert::attention
