#include "arena.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <new>

#if defined(__linux__)
#include <fcntl.h>
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
// Whether every page of [begin, end) came from a file, and nothing was written to it. /proc/self/maps would say it too, but takes a
// millisecond where a model's tensors are hundreds of mappings, and would be read for every kernel.
bool are_of_files(int pagemap, uintptr_t begin, uintptr_t end, size_t page) {
  constexpr uint64_t kPresent = uint64_t{1} << 63, kOfFile = uint64_t{1} << 61;  // of a page's entry
  uint64_t entries[512];
  for (size_t first = begin / page, count; first < end / page; first += count) {
    count = std::min(end / page - first, std::size(entries));
    const size_t bytes = count * sizeof entries[0];
    if (pread(pagemap, entries, bytes, static_cast<off_t>(first * sizeof entries[0])) != static_cast<ssize_t>(bytes)) return false;
    for (size_t i = 0; i < count; ++i)
      if (!(entries[i] & kPresent) || !(entries[i] & kOfFile)) return false;
  }
  return true;
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
  const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (pagemap < 0) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (const Memory& memory : all) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(memory.begin);
    const uintptr_t begin = round_up(address, page), end = (address + memory.bytes) / page * page;
    if (begin < end && are_of_files(pagemap, begin, end, page)) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  close(pagemap);
}
#else
Chunk::Chunk(size_t bytes) : mapped_(static_cast<char*>(::operator new(bytes, std::align_val_t{kAlignment}))), begin_(mapped_), bytes_(bytes) {}

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
