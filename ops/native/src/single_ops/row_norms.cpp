#include "single_ops/row_norms.h"

#include <algorithm>
#include <cmath>

#include "base/call_counts.h"
#include "base/parallel.h"

namespace insightface {
namespace {

INSIGHTFACE_VECTORISED void NormalizeRange(const float* x, int64_t rows, int64_t width, float epsilon, float* y,
                                           float* square_sums) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; ++i) { sum += x[i] * x[i]; }
    square_sums[row] = sum;
    const float scale = 1 / std::sqrt(std::max(sum, epsilon));
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) { y[i] = x[i] * scale; }
  }
}

INSIGHTFACE_VECTORISED void GradientOfRange(const float* y, const float* dy, const float* square_sums, int64_t rows,
                                            int64_t width, float epsilon, float* dx) {
  for (int64_t row = 0; row < rows; ++row, y += width, dy += width, dx += width) {
    float along = 0;
#pragma omp simd reduction(+ : along)
    for (int64_t i = 0; i < width; ++i) { along += y[i] * dy[i]; }
    const float scale = 1 / std::sqrt(std::max(square_sums[row], epsilon));
    if (square_sums[row] < epsilon) { along = 0; }
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) { dx[i] = (dy[i] - y[i] * along) * scale; }
  }
}

}  // namespace

void NormalizeRows(const RowsShape& shape, const float* x, float epsilon, float* y, float* square_sums) {
  ParallelRows(shape.rows, [&](int64_t begin, int64_t end, int) {
    NormalizeRange(x + begin * shape.width, end - begin, shape.width, epsilon, y + begin * shape.width,
                   square_sums + begin);
  });
}

void NormalizeRowsGrad(const RowsShape& shape, const float* y, const float* dy, const float* square_sums, float epsilon,
                       float* dx) {
  ParallelRows(shape.rows, [&](int64_t begin, int64_t end, int) {
    const int64_t start = begin * shape.width;
    GradientOfRange(y + start, dy + start, square_sums + begin, end - begin, shape.width, epsilon, dx + start);
  });
}

}  // namespace insightface
