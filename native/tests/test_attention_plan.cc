// The plan against what the portable function gives for the same masks.
#include <vector>

#include "attention_plan/attention_plan.h"
#include "check.h"

using namespace jinabert;
using namespace jinabert::test;

namespace {

struct Plan {
  attention_plan::Sizes sizes;
  std::vector<int64_t> source, texts;
  std::vector<float> positions;

  Plan(const std::vector<int64_t>& mask, int64_t batch) {
    const int64_t sequence = static_cast<int64_t>(mask.size()) / batch;
    sizes = attention_plan::count(mask.data(), batch, sequence);
    source.resize(sizes.tokens), positions.resize(sizes.tokens), texts.resize(2 * batch);
    attention_plan::fill(mask.data(), batch, sequence, source.data(), positions.data(), texts.data());
  }
};

void test_padding() {
  const Plan plan({1, 1, 0, 1, 1, 1}, 2);
  check(plan.source == std::vector<int64_t>{0, 1, 3, 4, 5}, "padding: sources");
  check(plan.positions == std::vector<float>{0, 1, 0, 1, 2}, "padding: positions");
  check(plan.texts == std::vector<int64_t>{0, 2, 2, 5}, "padding: texts");
  check(plan.sizes.blocks == 1 && plan.sizes.rows() == 5, "padding: rows");
}

void test_holes() {
  const Plan plan({0, 1, 0, 1}, 1);
  check(plan.source == std::vector<int64_t>{1, 3} && plan.positions == std::vector<float>{1, 3}, "holes");
}

void test_a_text_without_tokens_keeps_its_first_place() {
  const Plan plan({0, 0, 1, 1}, 2);
  check(plan.source == std::vector<int64_t>{0, 2, 3}, "empty: sources");
  check(plan.texts == std::vector<int64_t>{0, 1, 1, 3}, "empty: texts");
}

void test_blocks() {
  const Plan plan(std::vector<int64_t>(1025, 1), 1);
  check(plan.sizes.blocks == 3 && plan.sizes.block_length == 342 && plan.sizes.rows() == 1026, "blocks of 1025 tokens");
  const Plan exact(std::vector<int64_t>(512, 1), 1);
  check(exact.sizes.blocks == 1 && exact.sizes.rows() == 512, "blocks of 512 tokens");
}

}  // namespace

int main() {
  test_padding();
  test_holes();
  test_a_text_without_tokens_keeps_its_first_place();
  test_blocks();
  return report("attention plan");
}
