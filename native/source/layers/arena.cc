#include "arena.h"

#include <cstdint>
#include <iterator>
#include <new>

#include "../lanes.h"
#include "problem.h"

#if defined(__linux__)
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace jinabert::layers {
namespace {

constexpr size_t kChunk = size_t{32} << 20;  // memory that is not used is not taken from the system

#if defined(__linux__)
constexpr size_t kLargePage = size_t{2} << 20;
// What the system tells of one page of this process, in 64 bits of /proc/self/pagemap.
constexpr uint64_t kPresent = uint64_t{1} << 63, kSwapped = uint64_t{1} << 62, kOfFile = uint64_t{1} << 61;

// Whether all pages from the first to before the last are as a file has them. One that was written to is no longer the
// file's, nor is any other memory.
bool are_of_file(int pagemap, size_t first, size_t last) {
  uint64_t pages[512];
  for (size_t page = first; page < last;) {
    const size_t count = last - page < std::size(pages) ? last - page : std::size(pages);
    const auto bytes = static_cast<ssize_t>(count * sizeof *pages);
    if (pread(pagemap, pages, static_cast<size_t>(bytes), static_cast<off_t>(page * sizeof *pages)) != bytes) return false;
    for (size_t i = 0; i < count; i++)
      if (pages[i] & kSwapped || (pages[i] & kPresent && !(pages[i] & kOfFile))) return false;
    page += count;
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
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (const Memory& memory : all) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(memory.begin);
    const size_t first = round_up(begin, page) / page, last = (begin + memory.bytes) / page;
    if (pagemap >= 0 && first < last && are_of_file(pagemap, first, last))
      madvise(reinterpret_cast<void*>(first * page), (last - first) * page, MADV_DONTNEED);
  }
  if (pagemap >= 0) close(pagemap);
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
