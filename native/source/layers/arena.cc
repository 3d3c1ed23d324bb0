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
constexpr size_t kChunk = size_t{32} << 20;  // memory that is not used is not taken from the system

size_t round_up(size_t a, size_t b) { return (a + b - 1) / b * b; }

#if defined(__linux__)
constexpr size_t kLargePage = size_t{2} << 20;

struct Mapping {
  uintptr_t begin, end;
};

// The mapped files of this process. A line of /proc/self/maps is "7f1c8a000000-7f1c8a021000 r--p 00000000 08:01 1234 /path", with
// inode 0 for memory that is no file's.
std::vector<Mapping> files_of_process() {
  std::vector<Mapping> files;
  std::FILE* maps = std::fopen("/proc/self/maps", "re");
  char line[512];
  while (maps && std::fgets(line, sizeof line, maps)) {
    unsigned long begin, end, inode;
    if (std::sscanf(line, "%lx-%lx %*s %*x %*s %lu", &begin, &end, &inode) == 3 && inode) files.push_back({begin, end});
  }
  if (maps) std::fclose(maps);
  return files;
}

void release(const Mapping& file, const Memory& memory) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory.begin);
  const uintptr_t begin = round_up(address, page), end = (address + memory.bytes) / page * page;
  // Pages that nothing was written to: they come from the file again.
  if (file.begin <= begin && begin < end && end <= file.end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
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

void release_file_pages(const std::vector<Memory>& all) {
  for (const Mapping& file : files_of_process())
    for (const Memory& memory : all) release(file, memory);
}
#else
Chunk::Chunk(size_t bytes) : bytes_(bytes) {
  begin_ = mapped_ = static_cast<char*>(::operator new(bytes, std::align_val_t{kAlignment}));
}

Chunk::~Chunk() { ::operator delete(mapped_, std::align_val_t{kAlignment}); }

void release_file_pages(const std::vector<Memory>&) {}
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
