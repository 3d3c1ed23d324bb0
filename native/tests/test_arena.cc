// What becomes of the pages of weights that were packed: those of a file go, all others stay as they are.
#include "layers/arena.h"

#include <cstdio>
#include <cstring>

#include "check.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

using namespace jinabert;
using namespace jinabert::test;

#if defined(__linux__)
namespace {

constexpr size_t kPages = 600;  // more than are asked about at a time

struct Pages {
  char* begin;
  size_t bytes;

  explicit Pages(std::FILE* file) : bytes(kPages * static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    const int flags = MAP_PRIVATE | (file ? 0 : MAP_ANONYMOUS);
    begin = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, file ? fileno(file) : -1, 0));
  }
  ~Pages() { munmap(begin, bytes); }

  bool hold(char value) const {
    for (size_t i = 0; i < bytes; i++)
      if (begin[i] != value) return false;
    return true;
  }
};

long faults() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

void test_pages_of_a_file_go(std::FILE* file) {
  const Pages pages(file);
  check(pages.hold('f'), "the file is not what was written");
  layers::release_file_pages({{pages.begin + 1, pages.bytes - 2}});
  const long before = faults();
  check(pages.hold('f'), "pages of a file are not read again");
  check(faults() > before, "no page of a file was let go");
}

void test_pages_that_were_written_to_stay(std::FILE* file) {
  const Pages pages(file);
  check(pages.hold('f'), "the file is not what was written");
  pages.begin[pages.bytes - 1] = 'w';
  layers::release_file_pages({{pages.begin, pages.bytes}});
  check(pages.begin[pages.bytes - 1] == 'w', "what was written is lost");
}

void test_memory_of_no_file_stays() {
  const Pages pages(nullptr);
  std::memset(pages.begin, 'a', pages.bytes);
  layers::release_file_pages({{pages.begin, pages.bytes}});
  check(pages.hold('a'), "memory of no file is lost");
}

}  // namespace

int main() {
  std::FILE* const file = std::tmpfile();
  const size_t bytes = kPages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (size_t i = 0; i < bytes; i++) std::fputc('f', file);
  std::fflush(file);
  test_pages_of_a_file_go(file);
  test_pages_that_were_written_to_stay(file);
  test_memory_of_no_file_stays();
  std::fclose(file);
  return report("arena");
}
#else
int main() { return report("arena"); }
#endif
