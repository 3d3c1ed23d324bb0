// Every kernel that this processor can run against a reference in float64.
//
// test_attention [TOKENS]: no text is longer than so many, for processors that are emulated; at least 800.
#include <algorithm>
#include <cstring>

#include "batch.h"
#include "check.h"
#include "standard_threads.h"

using namespace jinabert;
using namespace jinabert::attention;
using namespace jinabert::test;

namespace {

size_t longest = 16373;  // tokens

size_t at_most_longest(size_t tokens) { return std::min(tokens, longest); }

// The context of one row and head, (head_size), as the definition says.
std::vector<double> reference(const Batch& batch, size_t text, size_t row, size_t head) {
  const size_t first = batch.texts[2 * text], end = batch.texts[2 * text + 1], channel = head * batch.head_size;
  const double scale = 1.0f / std::sqrt(static_cast<float>(batch.head_size));
  std::vector<double> scores;
  for (size_t key = first; key < end; key++) {
    double score = 0;
    for (size_t c = 0; c < batch.head_size; c++)
      score += static_cast<double>(batch.query[row * batch.channels + channel + c]) * batch.key[key * batch.channels + channel + c];
    scores.push_back(score * scale - static_cast<double>(batch.slopes[head]) * std::fabs(batch.positions[row] - batch.positions[key]));
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  std::vector<double> context(batch.head_size);
  double total = 0;
  for (size_t key = first; key < end; key++) {
    const double weight = std::exp(scores[key - first] - largest);
    total += weight;
    for (size_t c = 0; c < batch.head_size; c++) context[c] += weight * batch.value[key * batch.channels + channel + c];
  }
  for (double& x : context) x /= total;
  return context;
}

bool is_bfloat16(const Kernel& kernel) { return std::strstr(kernel.name, "bf16"); }

// Rows that are compared: all of a short text, of a long one those at its ends, at edges of blocks, and some others.
std::vector<size_t> rows_to_compare(size_t length) {
  std::vector<size_t> rows;
  for (size_t row = 0; row < length; row++)
    if (length <= 200 || row < 2 || row + 2 >= length || row % 97 == 0 || row % 512 == 63 || row % 512 == 64) rows.push_back(row);
  return rows;
}

void compare(const Kernel& kernel, const Batch& batch, double allowed, const char* what) {
  StandardThreads threads(1);
  const std::vector<float> context = attend(kernel, batch, threads);
  double worst = 0;
  for (size_t text = 0; text < batch.texts.size() / 2; text++)
    for (size_t offset : rows_to_compare(batch.texts[2 * text + 1] - batch.texts[2 * text]))
      for (size_t head = 0; head < batch.heads; head++) {
        const size_t row = batch.texts[2 * text] + offset;
        const std::vector<double> right = reference(batch, text, row, head);
        for (size_t c = 0; c < batch.head_size; c++) {
          const double difference = std::fabs(context[row * batch.channels + head * batch.head_size + c] - right[c]);
          worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
        }
      }
  check(worst <= allowed, "%s %s head size %zu: off by %.3g, %.3g is allowed", kernel.name, what, batch.head_size, worst, allowed);
  for (size_t i = batch.texts.back() * batch.channels; i < context.size(); i++)
    check(context[i] == 0.0f, "%s %s: padding is not 0", kernel.name, what);
}

void test_lengths(const Kernel& kernel, size_t head_size) {
  const double allowed = is_bfloat16(kernel) ? 3e-2 : 4e-6;
  for (size_t length : {1, 2, 5, 6, 7, 16, 31, 63, 64, 65, 95, 96, 97, 128, 191, 192, 193, 256, 257, 500, 1000, 2049}) {
    if (length > longest) continue;
    char what[40];
    std::snprintf(what, sizeof what, "length %zu", length);
    compare(kernel, Batch({length}, 4, head_size, 1.0f, static_cast<unsigned>(length)), allowed, what);
  }
  compare(kernel, Batch({at_most_longest(8192), 3}, 2, head_size, 1.0f, 1), allowed, "the longest beside 3 tokens");
  if (longest < 16373) return;
  compare(kernel, Batch({16373}, 1, head_size, 1.0f, 1), allowed, "more tokens than there are bounds for");
}

void test_masks_with_holes(const Kernel& kernel, size_t head_size) {
  const double allowed = is_bfloat16(kernel) ? 3e-2 : 4e-6;
  compare(kernel, Batch({1, 64, 300, 17}, 4, head_size, 1.0f, 2, true), allowed, "holes");
  compare(kernel, Batch({at_most_longest(1500)}, 4, head_size, 1.0f, 3, true), allowed, "holes in a long text");
}

// Scores of hundreds, where a row's weight may lie in any key however far away: what is left out must stay left out
// rightly. A weight of 1e-7 of values up to 5 is 5e-7; the rest is what float32 rounds in scores of this size.
void test_large_scores(const Kernel& kernel, size_t head_size) {
  if (is_bfloat16(kernel)) return;  // it rounds scores of this size by whole units
  compare(kernel, Batch({at_most_longest(900)}, 4, head_size, 30.0f, 4), 3e-4, "scores of hundreds");
  compare(kernel, Batch({at_most_longest(900)}, 4, head_size, 300.0f, 5), 3e-3, "scores of thousands");
}

// Scores of millions, which products may round by thousands: every row still has weight.
void test_huge_scores(const Kernel& kernel, size_t head_size) {
  StandardThreads one(1);
  const std::vector<float> context = attend(kernel, Batch({300}, 4, head_size, 1e6f, 10), one);
  check(std::all_of(context.begin(), context.end(), [](float x) { return std::isfinite(x); }),
        "%s head size %zu: huge scores give no numbers", kernel.name, head_size);
}

// One key, far from all queries, that alone has weight: the bound of its block must not miss it.
void test_far_key(const Kernel& kernel, size_t head_size) {
  const double allowed = is_bfloat16(kernel) ? 3e-2 : 2e-5;  // float32 rounds scores of 100 by 4e-6
  const size_t length = at_most_longest(1536);
  for (size_t place : {size_t{0}, size_t{63}, size_t{64}, size_t{700}, length - 1}) {
    Batch batch({length}, 4, head_size, 0.3f, 6);
    for (size_t channel = 0; channel < batch.channels; channel++) {
      for (size_t row = 0; row < batch.rows; row++) batch.query[row * batch.channels + channel] += 1.0f;
      batch.key[place * batch.channels + channel] = 12.0f;
    }
    char what[40];
    std::snprintf(what, sizeof what, "a heavy key at %zu", place);
    compare(kernel, batch, allowed, what);
  }
}

bool same_bits(const float* a, const float* b, size_t count) { return !std::memcmp(a, b, count * sizeof(float)); }

void test_independence(const Kernel& kernel, size_t head_size) {
  const std::vector<size_t> lengths = {5, 700, 1, 64, 300, 130};
  const Batch batch(lengths, 4, head_size, 1.0f, 7);
  StandardThreads one(1), four(4);
  const std::vector<float> together = attend(kernel, batch, one);
  const std::vector<float> by_threads = attend(kernel, batch, four);
  check(same_bits(together.data(), by_threads.data(), together.size()), "%s: 4 threads round differently", kernel.name);
  for (size_t text = 0; text < lengths.size(); text++) {
    Batch alone = batch;
    const size_t first = batch.texts[2 * text], count = lengths[text];
    auto keep = [&](std::vector<float>* all, size_t width) {
      *all = std::vector<float>(all->begin() + first * width, all->begin() + (first + count) * width);
    };
    keep(&alone.query, batch.channels), keep(&alone.key, batch.channels), keep(&alone.value, batch.channels), keep(&alone.positions, 1);
    alone.texts = {0, static_cast<int64_t>(count)};
    alone.rows = count;
    const std::vector<float> own = attend(kernel, alone, one);
    check(same_bits(own.data(), &together[first * batch.channels], own.size()), "%s: text %zu rounds differently alone", kernel.name, text);
  }
}

// A value that is no number shows which keys a row reads: near ones always, those that can weigh nothing never.
void test_what_is_read(const Kernel& kernel, size_t head_size) {
  const size_t length = at_most_longest(4096), place = length / 2 - 48;
  Batch batch({length}, 4, head_size, 1.0f, 8);
  for (size_t channel = 0; channel < batch.channels; channel++) batch.value[place * batch.channels + channel] = std::nanf("");
  StandardThreads one(1);
  const std::vector<float> context = attend(kernel, batch, one);
  auto reads = [&](size_t row, size_t head) { return std::isnan(context[row * batch.channels + head * head_size]); };
  for (size_t head = 0; head < batch.heads; head++) {
    check(reads(place, head) && reads(place - 60, head) && reads(place + 60, head), "%s: a near key is not read", kernel.name);
    for (size_t row = 0; row < length; row++) {
      if (reads(row, head)) continue;
      // The weight that was left out, against all of the row's.
      double left_out = 0, total = 0;
      const double scale = 1.0f / std::sqrt(static_cast<float>(head_size));
      for (size_t key = 0; key < length; key++) {
        double score = 0;
        for (size_t c = 0; c < head_size; c++)
          score += static_cast<double>(batch.query[row * batch.channels + head * head_size + c]) * batch.key[key * batch.channels + head * head_size + c];
        const double distance = std::fabs(static_cast<double>(row) - static_cast<double>(key));
        const double weight = std::exp(score * scale - static_cast<double>(batch.slopes[head]) * distance);
        total += weight;
        if (key == place) left_out = weight;
      }
      check(left_out <= 1e-7 * total, "%s: row %zu leaves out %.2g of its weight", kernel.name, row, left_out / total);
      row += 40;  // a sample is enough
    }
  }
  check(!reads(0, 0), "%s: the steepest head reads keys %zu places away", kernel.name, place);
}

void test_nan_reaches_its_own_context_alone(const Kernel& kernel, size_t head_size) {
  const Batch whole({300}, 2, head_size, 1.0f, 9);
  StandardThreads one(1);
  const std::vector<float> right = attend(kernel, whole, one);
  for (size_t row : {96, 98, 101, 299}) {
    Batch batch = whole;
    batch.query[row * batch.channels] = std::nanf("");
    const std::vector<float> context = attend(kernel, batch, one);
    check(std::isnan(context[row * batch.channels]), "%s: a query that is no number gives a number", kernel.name);
    for (size_t other = 0; other < 300; other++)
      check(other == row || same_bits(&context[other * batch.channels], &right[other * batch.channels], batch.channels),
            "%s: row %zu changes for a NaN in row %zu", kernel.name, other, row);
  }
}

}  // namespace

int main(int count_of_arguments, char** arguments) {
  if (count_of_arguments > 1) longest = std::strtoul(arguments[1], nullptr, 10);
  size_t tested = 0;
  for (size_t head_size : {32, 64}) {
    const Kernel* kernels[kMostKernels];
    const size_t count = list_kernels(head_size, kernels);
    for (size_t i = 0; i < count; i++, tested++) {
      std::printf("%s, heads of %zu\n", kernels[i]->name, head_size);
      test_lengths(*kernels[i], head_size);
      test_masks_with_holes(*kernels[i], head_size);
      test_large_scores(*kernels[i], head_size);
      test_huge_scores(*kernels[i], head_size);
      test_far_key(*kernels[i], head_size);
      test_independence(*kernels[i], head_size);
      test_what_is_read(*kernels[i], head_size);
      test_nan_reaches_its_own_context_alone(*kernels[i], head_size);
    }
  }
  check(!choose_kernel(48, Precision::kFloat32), "there is a kernel for heads of 48");
  std::printf("%zu kernels\n", tested);
  return report("attention");
}
