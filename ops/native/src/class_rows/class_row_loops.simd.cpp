#include "class_rows/class_row_loops.h"

#include <cstring>

#include "class_rows/random_rounding.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

// Rounds after every operation, as OneFlow's SGD does.
__attribute__((optimize("fp-contract=off"))) void Update(const float* gradient, int64_t width, const MomentumRule& rule,
                                                         float* row, float* momentum) {
  const float lr = rule.lr, factor = rule.momentum, weight_decay = rule.weight_decay;
#pragma omp simd
  for (int64_t n = 0; n < width; ++n) {
    const float change = row[n] * weight_decay + gradient[n];
    const float moved = momentum[n] * factor + change;
    momentum[n] = moved;
    row[n] = row[n] - moved * lr;
  }
}

__attribute__((optimize("fp-contract=off"))) void UpdateAtRandom(const float* gradient, int64_t width,
                                                                 const MomentumRule& rule, const RowKeys& keys,
                                                                 BFloat16* row, BFloat16* momentum) {
  const float lr = rule.lr, factor = rule.momentum, weight_decay = rule.weight_decay;
  const uint32_t low = static_cast<uint32_t>(keys.row), high = static_cast<uint32_t>(keys.row >> 32);
  const uint32_t momentum_low = static_cast<uint32_t>(keys.momentum);
  const uint32_t momentum_high = static_cast<uint32_t>(keys.momentum >> 32);
  const int32_t count = static_cast<int32_t>(width);
#pragma omp simd
  for (int32_t n = 0; n < count; ++n) {
    const float weight = Load(row[n]);
    const float change = weight * weight_decay + gradient[n];
    const float moved = Load(momentum[n]) * factor + change;
    StoreAtRandom(moved, DrawBits(momentum_low, momentum_high, n), momentum + n);
    StoreAtRandom(weight - moved * lr, DrawBits(low, high, n), row + n);
  }
}

void RoundAtRandom(const float* from, int64_t width, uint64_t key, BFloat16* to) {
  const uint32_t low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  const int32_t count = static_cast<int32_t>(width);
#pragma omp simd
  for (int32_t n = 0; n < count; ++n) { StoreAtRandom(from[n], DrawBits(low, high, n), to + n); }
}

float SquareSum(const float* row, int64_t width) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) { sum += row[i] * row[i]; }
  return sum;
}

void Transpose(const float* source, int64_t rows, int64_t columns, float* target, int64_t step) {
  for (int64_t c = 0; c < columns; ++c) {
#pragma omp simd
    for (int64_t r = 0; r < rows; ++r) { target[c * step + r] = source[r * columns + c]; }
  }
}

void Multiply(const float* a, const float* b, int64_t count, float* result) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { result[i] = a[i] * b[i]; }
}

void UnitGradient(const float* row, const float* scaled, int64_t width, float scale, float* gradient) {
  float along = 0;
#pragma omp simd reduction(+ : along)
  for (int64_t i = 0; i < width; ++i) { along += row[i] * scaled[i]; }
  along *= scale * scale;
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) { gradient[i] = scaled[i] - row[i] * along; }
}

void AddArrays(const float* first, int64_t arrays, int64_t step, int64_t count, float* sum) {
  std::memcpy(sum, first, count * sizeof(float));
  for (int64_t a = 1; a < arrays; ++a) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) { sum[i] += first[a * step + i]; }
  }
}

}  // namespace

const ClassRowLoops kClassRowLoops = {Update,    UpdateAtRandom, RoundAtRandom, SquareSum,
                                      Transpose, Multiply,       UnitGradient,  AddArrays};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
