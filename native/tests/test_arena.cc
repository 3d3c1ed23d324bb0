// What is let go of a file's pages, and what is not.
#include <cstdio>
#include <cstring>

#include "check.h"
#include "layers/arena.h"

#if defined(__linux__)
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace jinabert::layers;
using namespace jinabert::test;

namespace {

constexpr size_t kPages = 16;

// A private mapping of a file of kPages pages, each of whose bytes is 1.
struct MappedFile {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), bytes = kPages * page;
  char* data = nullptr;

  MappedFile() {
    std::FILE* file = std::tmpfile();
    for (size_t i = 0; i < bytes; i++) std::fputc(1, file);
    std::fflush(file);
    data = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file), 0));
    std::fclose(file);
  }
  ~MappedFile() { munmap(data, bytes); }

  size_t sum() const {
    size_t sum = 0;
    for (size_t i = 0; i < bytes; i++) sum += static_cast<size_t>(data[i]);
    return sum;
  }
  // Whether the process holds a page of it.
  bool holds(size_t number) const {
    uint64_t entry = 0;
    const int pagemap = open("/proc/self/pagemap", O_RDONLY);
    const auto place = static_cast<off_t>((reinterpret_cast<uintptr_t>(data) / page + number) * sizeof entry);
    check(pread(pagemap, &entry, sizeof entry, place) == sizeof entry, "the page map cannot be read");
    close(pagemap);
    return entry >> 63;
  }
};

void test_pages_of_a_file_are_let_go() {
  const MappedFile file;
  check(file.sum() == file.bytes && file.holds(3), "the file is not read");
  release_file_pages({{file.data + 1, file.bytes - 2}});
  check(!file.holds(3) && file.holds(0) && file.holds(kPages - 1), "other pages than whole ones within are let go");
  check(file.sum() == file.bytes, "the file does not come back");
}

void test_what_was_written_stays() {
  const MappedFile file;
  file.data[5 * file.page] = 2;
  release_file_pages({{file.data, file.bytes}});
  check(file.sum() == file.bytes + 1, "what was written to a mapped file is lost");
}

void test_memory_of_no_file_stays() {
  const size_t bytes = size_t{1} << 20;
  Arena arena;
  char* const memory = arena.take(bytes);
  std::memset(memory, 7, bytes);
  const int zeros = open("/dev/zero", O_RDWR);
  char* const mapped = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, zeros, 0));
  close(zeros);
  std::memset(mapped, 7, bytes);
  release_file_pages({{memory, bytes}, {mapped, bytes}});
  for (size_t i = 0; i < bytes; i += 4096) check(memory[i] == 7 && mapped[i] == 7, "byte %zu is lost", i);
  munmap(mapped, bytes);
}

void test_memory_is_aligned_and_apart() {
  Arena arena;
  char* last = nullptr;
  for (size_t bytes : {1, 100, 3 << 20, 40 << 20, 64}) {
    char* const memory = arena.take(bytes);
    check(memory && reinterpret_cast<uintptr_t>(memory) % 64 == 0 && memory != last, "%zu bytes are not aligned", bytes);
    std::memset(memory, 1, bytes);
    last = memory;
  }
}

}  // namespace

int main() {
  test_pages_of_a_file_are_let_go();
  test_what_was_written_stays();
  test_memory_of_no_file_stays();
  test_memory_is_aligned_and_apart();
  return report("arena");
}
#else
int main() { return jinabert::test::report("arena"); }
#endif
