// Memory for packed weights: in large pages where the system gives them, since with small ones a product of few rows
// waits for addresses to be looked up.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace jinabert::layers {

// A stretch of memory that several owners share; it is given back with the last of them.
class Chunk {
 public:
  explicit Chunk(size_t bytes);
  ~Chunk();
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  // The next bytes, aligned to kAlignment; null where there are not so many left.
  char* take(size_t bytes);

 private:
  char* mapped_ = nullptr;  // what the system gave
  [[maybe_unused]] size_t mapped_bytes_ = 0;
  char* begin_ = nullptr;   // its first large page
  size_t bytes_ = 0;
  size_t taken_ = 0;
};

// Memory of one node. Nodes that are made one after the other in one thread stand side by side: those of a session, and of
// the next one made there.
class Arena {
 public:
  // Null where memory has run out.
  char* take(size_t bytes);

 private:
  std::vector<std::shared_ptr<Chunk>> chunks_;
};

// Some memory, of whomever.
struct Memory {
  const void* begin;
  size_t bytes;
};

// Lets go of memory that is a mapped file's, and that nobody has written to: it is read again if need be. Other memory
// stays as it is. Linux alone can tell.
void release_file_pages(const std::vector<Memory>& all);

}  // namespace jinabert::layers
