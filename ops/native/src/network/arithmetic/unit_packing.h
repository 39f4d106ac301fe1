// Bfloat16 matrices in the order in which the matrix unit takes its factors.
#pragma once

#include <cstdint>

#include "base/number_types.h"

namespace insightface {

// The rows of a matrix [rows, columns], which lie `step` numbers apart, and the rows, a multiple of 32, that it is filled
// up to with zeros.
struct UnitMatrix {
  const BFloat16* start;
  int64_t rows, columns, step;
  int64_t whole_rows;
};

// Writes pairs of rows together, [whole_rows / 2, columns, 2]. `columns` is a multiple of 32, here and below.
void PairRows(const UnitMatrix& matrix, BFloat16* to);

// Writes the transpose, [columns, whole_rows].
void TransposeRows(const UnitMatrix& matrix, BFloat16* to);

}  // namespace insightface
