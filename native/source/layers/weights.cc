#include "weights.h"

#include <cstring>

#include "../standard_threads.h"

namespace jinabert::layers {

using namespace onnxruntime;

namespace {

constexpr size_t kMostDepth = 65536;  // times 255 times 128 it is below 2^31

}  // namespace

void WeightReader::require(bool holds, const char* message) {
  if (!status_ && !holds) status_ = fail(api_, message);
}

Tensor WeightReader::next() {
  Tensor tensor;
  if (!status_) status_ = read_constant(api_, info_, next_++, &tensor);
  return tensor;
}

StoredMatrix WeightReader::matrix() {
  const Tensor weight = next();
  require(weight.rank == 2, "a weight of a layer has not two dimensions");
  StoredMatrix stored{weight.as<int8_t>(), nullptr, nullptr, static_cast<size_t>(weight.dimensions[0]),
                      static_cast<size_t>(weight.dimensions[1]), static_cast<size_t>(weight.dimensions[1])};
  require(stored.depth <= kMostDepth, "a weight of a layer has too many rows for sums in 32 bits");
  require(stored.depth && stored.columns && stored.depth % kPanel == 0 && stored.columns % kPanel == 0,
          "a weight of a layer has a size that is no multiple of 16");
  matrices_.push_back({stored.weight, stored.depth * stored.columns});
  stored.scales = floats(stored.columns);
  return stored;
}

const float* WeightReader::floats(size_t count) {
  const Tensor tensor = next();
  require(tensor.rank == 1 && tensor.dimensions[0] == static_cast<int64_t>(count), "the weights of a layer do not fit each other");
  return tensor.as<float>();
}

const float* WeightReader::kept_floats(size_t count) {
  const float* stored = floats(count);
  if (status_) return nullptr;
  char* memory = arena_->take(count * sizeof(float));
  require(memory, "memory has run out");
  if (memory) std::memcpy(memory, stored, count * sizeof(float));
  return reinterpret_cast<float*>(memory);
}

Norm WeightReader::norm(size_t count) {
  const float* weight = kept_floats(count);
  return {weight, kept_floats(count)};
}

Matrix WeightReader::pack(const StoredMatrix* stored, size_t count) {
  if (status_) return {};
  char* memory = arena_->take(packed_bytes(*stored, count));
  require(memory, "memory has run out");
  if (status_) return {};
  StandardThreads threads(threads_);
  bool fits_16_bits = true;
  const Matrix packed = layers::pack(stored, count, kernel_.middle, memory, threads, &fits_16_bits);
  require(fits_16_bits || !kernel_.adds_16_bits, "a layer has weights whose products overflow 16 bits on this processor");
  return packed;
}

void WeightReader::release_matrices() const {
  if (!status_) release_file_pages(matrices_);
}

}  // namespace jinabert::layers
