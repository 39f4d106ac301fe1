// Sums of rows of numbers, in float32: each product and each addition is rounded as NumPy's.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"

namespace insightface {

struct RowSums {
  // sum += factor * row, `width` numbers each; prefetches `later`, a row that is read some calls afterwards.
  void (*Add)(const float* row, float factor, const float* later, int64_t width, float* sum);
  // sum += total / count; total = 0.
  void (*AddMean)(float* total, float count, int64_t width, float* sum);
};
INSIGHTFACE_LOOPS(RowSums, kRowSums)

}  // namespace insightface
