// The inner loops of ops on the rows of a matrix: normalisation to unit length, and the steps of the softmax.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"

namespace insightface {

struct RowLoops {
  // NormalizeRows and NormalizeRowsGrad of row_norms.h, for consecutive rows.
  void (*Normalize)(const float* x, int64_t rows, int64_t width, float epsilon, float* y, float* square_sums);
  void (*NormalizeGrad)(const float* y, const float* dy, const float* square_sums, int64_t rows, int64_t width,
                        float epsilon, float* dx);
  // result = row - value
  void (*Subtract)(const float* row, int64_t width, float value, float* result);
  // result = row / value
  void (*Divide)(const float* row, int64_t width, float value, float* result);
  // The largest number of a row.
  float (*Maximum)(const float* row, int64_t width);
  // Marks the numbers equal to `value` and returns how many there are.
  int32_t (*MarkEqual)(const float* row, int64_t width, float value, bool* marks);
};
INSIGHTFACE_LOOPS(RowLoops, kRowLoops)

}  // namespace insightface
