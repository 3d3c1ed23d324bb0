// Assertions of a test program: a failure is printed, and makes its exit code 1.
#pragma once

#include <cstdio>

namespace jinabert::test {

inline int failures = 0;

template <typename... Values>
void check(bool holds, const char* format, Values... values) {
  if (holds) return;
  failures++;
  std::fprintf(stderr, "FAILED: ");
  if constexpr (sizeof...(values))
    std::fprintf(stderr, format, values...);
  else
    std::fputs(format, stderr);
  std::fprintf(stderr, "\n");
}

inline int report(const char* what) {
  std::printf("%s: %s\n", what, failures ? "failed" : "passed");
  return failures ? 1 : 0;
}

}  // namespace jinabert::test
