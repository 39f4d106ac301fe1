#include "single_ops/row_loops.h"

#include "base/number_types.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

INSIGHTFACE_INLINE float InverseNorm(float square_sum, float epsilon) {
  return 1 / __builtin_sqrtf(square_sum < epsilon ? epsilon : square_sum);
}

void Normalize(const float* x, int64_t rows, int64_t width, float epsilon, float* y, float* square_sums) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; ++i) { sum += x[i] * x[i]; }
    square_sums[row] = sum;
    const float scale = InverseNorm(sum, epsilon);
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) { y[i] = x[i] * scale; }
  }
}

void NormalizeGrad(const float* y, const float* dy, const float* square_sums, int64_t rows, int64_t width,
                   float epsilon, float* dx) {
  for (int64_t row = 0; row < rows; ++row, y += width, dy += width, dx += width) {
    float along = 0;
#pragma omp simd reduction(+ : along)
    for (int64_t i = 0; i < width; ++i) { along += y[i] * dy[i]; }
    const float scale = InverseNorm(square_sums[row], epsilon);
    if (square_sums[row] < epsilon) { along = 0; }
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) { dx[i] = (dy[i] - y[i] * along) * scale; }
  }
}

void Subtract(const float* row, int64_t width, float value, float* result) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) { result[i] = row[i] - value; }
}

void Divide(const float* row, int64_t width, float value, float* result) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) { result[i] = row[i] / value; }
}

float Maximum(const float* row, int64_t width) {
  float largest = row[0];
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < width; ++i) { largest = row[i] > largest ? row[i] : largest; }
  return largest;
}

int32_t MarkEqual(const float* row, int64_t width, float value, bool* marks) {
  int32_t count = 0;
#pragma omp simd reduction(+ : count)
  for (int64_t i = 0; i < width; ++i) {
    marks[i] = row[i] == value;
    count += marks[i];
  }
  return count;
}

}  // namespace

const RowLoops kRowLoops = {Normalize, NormalizeGrad, Subtract, Divide, Maximum, MarkEqual};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
