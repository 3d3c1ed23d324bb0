#include "arena.h"

#include <cstdint>
#include <cstdio>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace jinabert::layers {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kChunk = size_t{32} << 20;  // memory that is not used is not taken from the system

size_t round_up(size_t a, size_t b) { return (a + b - 1) / b * b; }

#if defined(__linux__)
// Whether a mapped file, which nothing was written to, is at [begin, end), as /proc/self/maps has it:
// "7f1c8a000000-7f1c8a021000 r--p 00000000 08:01 1234 /path", with inode 0 for memory that is no file's.
bool is_unwritten_file(uintptr_t begin, uintptr_t end) {
  std::FILE* maps = std::fopen("/proc/self/maps", "re");
  if (!maps) return false;
  bool found = false;
  char line[512];
  while (!found && std::fgets(line, sizeof line, maps)) {
    unsigned long first, last, inode;
    char access[5];
    found = std::sscanf(line, "%lx-%lx %4s %*x %*s %lu", &first, &last, access, &inode) == 4 && first <= begin && end <= last &&
            inode && access[1] == '-';
  }
  std::fclose(maps);
  return found;
}
#endif

}  // namespace

#if defined(__linux__)
Chunk::Chunk(size_t bytes) : bytes_(bytes) {
  mapped_bytes_ = round_up(bytes, kLargePage) + kLargePage;
  void* const mapped = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  mapped_ = static_cast<char*>(mapped);
  begin_ = mapped_ + (round_up(reinterpret_cast<uintptr_t>(mapped_), kLargePage) - reinterpret_cast<uintptr_t>(mapped_));
  madvise(begin_, round_up(bytes, kLargePage), MADV_HUGEPAGE);  // small pages do as well
}

Chunk::~Chunk() { munmap(mapped_, mapped_bytes_); }

void release_file_pages(const void* begin, size_t bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = round_up(reinterpret_cast<uintptr_t>(begin), page);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(begin) + bytes) / page * page;
  if (first < end && is_unwritten_file(first, end)) madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}
#else
Chunk::Chunk(size_t bytes) : mapped_(static_cast<char*>(::operator new(bytes, std::align_val_t{kAlignment}))), begin_(mapped_), bytes_(bytes) {}

Chunk::~Chunk() { ::operator delete(mapped_, std::align_val_t{kAlignment}); }

void release_file_pages(const void*, size_t) {}
#endif

char* Chunk::take(size_t bytes) {
  const size_t rounded = round_up(bytes, kAlignment);
  if (rounded > bytes_ - taken_) return nullptr;
  taken_ += rounded;
  return begin_ + taken_ - rounded;
}

char* Arena::take(size_t bytes) {
  static thread_local std::weak_ptr<Chunk> last;
  std::shared_ptr<Chunk> chunk = last.lock();
  char* memory = chunk ? chunk->take(bytes) : nullptr;
  if (!memory) {
    const size_t rounded = round_up(bytes, kAlignment);
    try {
      chunk = std::make_shared<Chunk>(rounded > kChunk ? rounded : kChunk);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    last = chunk;
    memory = chunk->take(bytes);
  }
  chunks_.push_back(std::move(chunk));
  return memory;
}

}  // namespace jinabert::layers
