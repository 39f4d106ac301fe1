// The inner loops along class rows.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"
#include "base/number_types.h"

namespace insightface {

// SGD with momentum.
struct MomentumRule {
  float lr, momentum, weight_decay;
};

// Keys of the random bits of a row and its momentum (random_rounding.h).
struct RowKeys {
  uint64_t row, momentum;
};

struct ClassRowLoops {
  // The update of UpdateRows (row_bank.h), for one row and its momentum.
  void (*Update)(const float* gradient, int64_t width, const MomentumRule& rule, float* row, float* momentum);
  // The same for bfloat16, rounded at random.
  void (*UpdateAtRandom)(const float* gradient, int64_t width, const MomentumRule& rule, const RowKeys& keys,
                         BFloat16* row, BFloat16* momentum);
  void (*RoundAtRandom)(const float* from, int64_t width, uint64_t key, BFloat16* to);
  float (*SquareSum)(const float* row, int64_t width);
  // target[c][r] = source[r][c] for a dense matrix of `rows` and `columns`; target rows lie `step` apart.
  void (*Transpose)(const float* source, int64_t rows, int64_t columns, float* target, int64_t step);
  // result = a * b, number by number
  void (*Multiply)(const float* a, const float* b, int64_t count, float* result);
  // The gradient of a row x that was used as x * scale, from that of x * scale times scale, where scale is 1 / |x|.
  void (*UnitGradient)(const float* row, const float* scaled, int64_t width, float scale, float* gradient);
  // sum = the sum of `arrays` arrays, which lie `step` apart.
  void (*AddArrays)(const float* first, int64_t arrays, int64_t step, int64_t count, float* sum);
};
INSIGHTFACE_LOOPS(ClassRowLoops, kClassRowLoops)

}  // namespace insightface
