// Rows of unit length and their gradient, float32.
#pragma once

#include <cstdint>

namespace insightface {

struct RowsShape {
  int64_t rows, width;
};

// y = x / sqrt(max(sum x^2, epsilon)) for each row; writes the sums as well.
void NormalizeRows(const RowsShape& shape, const float* x, float epsilon, float* y, float* square_sums);

// dx = (dy - y * sum(y dy)) / sqrt(max(sum x^2, epsilon)); where epsilon is larger than the sum, the term with
// y is left out, as y is then a fixed multiple of x.
void NormalizeRowsGrad(const RowsShape& shape, const float* y, const float* dy, const float* square_sums, float epsilon,
                       float* dx);

}  // namespace insightface
