// Every kernel that this processor can run: products against integers, layers against their definition, and rows alone
// against the same rows in a batch.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"
#include "layer.h"
#include "plain_lanes.h"

using namespace jinabert;
using namespace jinabert::layers;
using namespace jinabert::test;

namespace {

// A row's size and bytes, as the operators in a bundle round it.
struct Rounded {
  float size = 0.0f;
  std::vector<int> bytes;

  explicit Rounded(const std::vector<float>& row) {
    for (float x : row) size = std::max(size, std::fabs(x));
    const float reciprocal = 1.0f / size;
    for (float x : row) bytes.push_back(size ? static_cast<int>(std::nearbyint(x * reciprocal * 127.0f)) : 0);
  }
};

std::vector<float> row_of(const std::vector<float>& rows, size_t row, size_t width) {
  return {rows.begin() + row * width, rows.begin() + (row + 1) * width};
}

std::vector<float> times(std::vector<float> a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); i++) a[i] *= b[i];
  return a;
}

std::vector<double> product(const Rounded& row, const Weight& weight, bool with_biases) {
  std::vector<double> result(weight.columns);
  for (size_t column = 0; column < weight.columns; column++) {
    long sum = 0;
    for (size_t i = 0; i < weight.depth; i++) sum += row.bytes[i] * weight.bytes[i * weight.columns + column];
    result[column] = static_cast<double>(sum) / 127 * weight.scales[column] * row.size + (with_biases ? weight.biases[column] : 0.0f);
  }
  return result;
}

std::vector<float> normalized(const std::vector<double>& x, const Layer& layer) {
  double mean = 0, variance = 0;
  for (double value : x) mean += value / x.size();
  for (double value : x) variance += (value - mean) * (value - mean) / x.size();
  std::vector<float> result;
  for (size_t i = 0; i < x.size(); i++)
    result.push_back(static_cast<float>((x[i] - mean) / std::sqrt(variance + 1e-12) * layer.norm_weight[i] + layer.norm_bias[i]));
  return result;
}

std::vector<double> plus(std::vector<double> a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); i++) a[i] += b[i];
  return a;
}

double activated(double x, Activation activation) {
  return activation == Activation::kRelu ? std::max(x, 0.0) : x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
}

std::vector<float> finished_row(const Layer& layer, const std::vector<float>& context, const std::vector<float>& hidden, bool twice,
                                Activation activation) {
  std::vector<float> attended = normalized(plus(product(Rounded(context), layer.output, true), hidden), layer);
  if (twice) attended = normalized(plus({attended.begin(), attended.end()}, hidden), layer);
  const Rounded row(times(attended, layer.smoothing));
  const std::vector<double> gate = product(row, layer.gate, false), up = product(row, layer.up, false);
  std::vector<float> wide;
  for (size_t i = 0; i < layer.width; i++) wide.push_back(static_cast<float>(activated(gate[i], activation) * up[i]));
  return normalized(plus(product(Rounded(wide), layer.down, true), attended), layer);
}

// Rows of whole numbers, of size 1, so that a product is the integer itself in float32.
void test_products_are_exact(const Kernel& kernel, size_t hidden_size, size_t rows) {
  Layer layer(hidden_size, 16);
  float one = 127.0f;  // times the step of a row it is 1
  while (1.0f / 127 * one < 1.0f) one = std::nextafter(one, 200.0f);
  std::fill(layer.smoothing.begin(), layer.smoothing.end(), 1.0f);
  for (Weight* weight : {&layer.query, &layer.key, &layer.value}) {
    std::fill(weight->scales.begin(), weight->scales.end(), one);
    std::fill(weight->biases.begin(), weight->biases.end(), 0.0f);
  }
  std::mt19937 random(5);
  std::vector<int> bytes(rows * hidden_size);
  std::vector<float> hidden(bytes.size());
  for (size_t i = 0; i < bytes.size(); i++) {
    const bool extreme = i / hidden_size % 3 == 0;
    bytes[i] = i % hidden_size == 0 || extreme ? (random() % 2 ? 127 : -127) : static_cast<int>(random() % 255) - 127;
    hidden[i] = static_cast<float>(bytes[i]) / 127.0f;
  }
  const PackedLayer packed(layer, kernel.middle, false);
  const std::vector<float> outputs = project(kernel, packed.projection, hidden, 1);
  const Weight* weights[] = {&layer.query, &layer.key, &layer.value};
  size_t wrong = 0;
  for (size_t part = 0; part < 3; part++)
    for (size_t row = 0; row < rows; row++)
      for (size_t column = 0; column < hidden_size; column++) {
        int sum = 0;
        for (size_t i = 0; i < hidden_size; i++)
          sum += bytes[row * hidden_size + i] * weights[part]->bytes[i * hidden_size + column];
        wrong += outputs[(part * rows + row) * hidden_size + column] != static_cast<float>(sum);
      }
  check(!wrong, "%s: %zu products of %zu rows of %zu channels are wrong", kernel.name, wrong, rows, hidden_size);
}

// A byte that is rounded the other way changes a row's results a little: few may be off by more than float32's rounding.
void compare(const char* name, const char* what, const std::vector<float>& found, const std::vector<float>& right) {
  size_t off = 0;
  double worst = 0;
  for (size_t i = 0; i < right.size(); i++) {
    const double apart = std::fabs(found[i] - right[i]);
    worst = std::isfinite(apart) ? std::max(worst, apart) : 1e9;
    off += !(apart < 2e-5);
  }
  check(worst < 0.05 && off * 20 < right.size(), "%s: %s differs by up to %g, and %zu of %zu by more than 2e-5", name, what, worst, off,
        right.size());
}

void test_projection(const Kernel& kernel, size_t hidden_size, size_t rows, bool normalizes) {
  const Layer layer(hidden_size, 16);
  const PackedLayer packed(layer, kernel.middle, normalizes);
  const std::vector<float> hidden = random_floats(rows * hidden_size, 0.0f, 1.0f, 3);
  const Weight* weights[] = {&layer.query, &layer.key, &layer.value};
  std::vector<float> right;
  for (size_t part = 0; part < 3; part++)
    for (size_t row = 0; row < rows; row++) {
      const bool with_biases = part == 0 || (part == 1 && normalizes);
      const std::vector<double> sums = product(Rounded(times(row_of(hidden, row, hidden_size), layer.smoothing)), *weights[part], with_biases);
      const std::vector<float> result = part < 2 && normalizes ? normalized(sums, layer) : std::vector<float>(sums.begin(), sums.end());
      right.insert(right.end(), result.begin(), result.end());
    }
  compare(kernel.name, normalizes ? "a normalised projection" : "a projection", project(kernel, packed.projection, hidden, 2), right);
}

void test_after_attention(const Kernel& kernel, size_t hidden_size, size_t width, size_t rows, bool twice, Activation activation) {
  const Layer layer(hidden_size, width);
  const PackedLayer packed(layer, kernel.middle, twice, activation);
  const std::vector<float> context = random_floats(rows * hidden_size, 0.0f, 1.0f, 4);
  const std::vector<float> hidden = random_floats(rows * hidden_size, 0.0f, 1.0f, 3);
  std::vector<float> right;
  for (size_t row = 0; row < rows; row++) {
    const std::vector<float> result =
        finished_row(layer, row_of(context, row, hidden_size), row_of(hidden, row, hidden_size), twice, activation);
    right.insert(right.end(), result.begin(), result.end());
  }
  compare(kernel.name, twice ? "a layer of two norms" : "a layer", finish(kernel, packed.after_attention, context, hidden, 2), right);
}

// Each row by itself gives what it gives in a batch, to the last bit, on any number of threads.
void test_rows_alone(const Kernel& kernel, size_t hidden_size, size_t width, size_t rows) {
  const Layer layer(hidden_size, width);
  const PackedLayer packed(layer, kernel.middle, true);
  const std::vector<float> context = random_floats(rows * hidden_size, 0.0f, 1.0f, 4);
  const std::vector<float> hidden = random_floats(rows * hidden_size, 0.0f, 1.0f, 3);
  const std::vector<float> all = finish(kernel, packed.after_attention, context, hidden, 1);
  const std::vector<float> parts = project(kernel, packed.projection, hidden, 1);
  for (size_t threads : {2, 3, 9}) {
    check(finish(kernel, packed.after_attention, context, hidden, threads) == all, "%s: %zu rows differ on %zu threads", kernel.name, rows, threads);
    check(project(kernel, packed.projection, hidden, threads) == parts, "%s: %zu projected rows differ on %zu threads", kernel.name, rows, threads);
  }
  for (size_t row = 0; row < rows; row += 1 + rows / 7) {
    const std::vector<float> own = row_of(hidden, row, hidden_size);
    const std::vector<float> alone = finish(kernel, packed.after_attention, row_of(context, row, hidden_size), own, 2);
    check(alone == row_of(all, row, hidden_size), "%s: row %zu of %zu differs alone", kernel.name, row, rows);
    check(row_of(project(kernel, packed.projection, own, 2), 0, hidden_size) == row_of(parts, row, hidden_size),
          "%s: projected row %zu of %zu differs alone", kernel.name, row, rows);
  }
}

// A row of zeros gives zeros, and one that holds no number is not lost.
void test_odd_rows(const Kernel& kernel) {
  const Layer layer(64, 32);
  PackedLayer packed(layer, kernel.middle, false);
  std::vector<float> hidden(2 * 64, 0.0f);
  hidden[64 + 7] = std::nanf("");
  const std::vector<float> outputs = project(kernel, packed.projection, hidden, 1);
  for (size_t i = 0; i < 64; i++) {
    check(outputs[i] == layer.query.biases[i], "%s: a row of zeros gives %g", kernel.name, static_cast<double>(outputs[i]));
    check(std::isnan(outputs[64 + i]), "%s: no number gives %g", kernel.name, static_cast<double>(outputs[64 + i]));
  }
}

void test_all(const Kernel& kernel) {
  for (size_t hidden_size : {16, 48, 64, 96, 256})
    for (size_t rows : {1, 2, 5, 6, 7, 8, 9, 31, 70}) test_products_are_exact(kernel, hidden_size, rows);
  for (size_t hidden_size : {384, 512, 768, 1024}) test_products_are_exact(kernel, hidden_size, 9);
  test_products_are_exact(kernel, 4096, 1);
  for (bool twice : {false, true}) {
    test_projection(kernel, 96, 19, twice);
    test_projection(kernel, 48, 70, twice);
    for (Activation activation : {Activation::kGelu, Activation::kRelu}) {
      test_after_attention(kernel, 48, 160, 3, twice, activation);
      test_after_attention(kernel, 256, 512, 40, twice, activation);
    }
  }
  for (size_t rows : {1, 16, 17, 32, 33, 100}) test_rows_alone(kernel, 64, 112, rows);
  test_rows_alone(kernel, 768, 3072, 40);
  test_rows_alone(kernel, 16, 16, 5);  // fewer tiles than threads
  test_odd_rows(kernel);
}

// Neighbours of one sign may add up to 128; more would overflow where products are added in 16 bits.
void test_wide_pairs_are_noticed() {
  Weight weight(64, 48, 1);
  check(Packed({weight.stored()}, 128).fits_16_bits, "weights as exported do not fit into 16 bits");
  for (int sign : {1, -1}) {
    weight.bytes[63 * 48 + 47] = static_cast<int8_t>(sign * 65);
    weight.bytes[62 * 48 + 47] = static_cast<int8_t>(sign * 64);
    check(!Packed({weight.stored()}, 128).fits_16_bits, "a pair of %d is not noticed", sign * 129);
  }
}

}  // namespace

int main() {
  const Kernel* kernels[kMostKernels];
  const size_t count = list_kernels(kernels);
  for (size_t i = 0; i < count; i++) {
    test_all(*kernels[i]);
    std::printf("%s, layers\n", kernels[i]->name);
  }
  for (const Kernel& kernel : plain_kernels()) test_all(kernel);
  test_wide_pairs_are_noticed();
  return report("layers");
}
