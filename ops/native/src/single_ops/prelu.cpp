#include "single_ops/prelu.h"

#include <vector>

#include "base/call_counts.h"

namespace insightface {
namespace {

INSIGHTFACE_VECTORISED void PreluPlane(const float* x, float slope, float* y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { y[i] = x[i] > 0 ? x[i] : x[i] * slope; }
}

// Returns the plane's part of the slope's gradient.
INSIGHTFACE_VECTORISED double PreluGradPlane(const float* x, float slope, const float* dy, float* dx, int64_t count) {
  constexpr int64_t kBlock = 512;  // few enough values to sum in float
  double total = 0;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t end = start + kBlock < count ? start + kBlock : count;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = start; i < end; ++i) {
      sum += dy[i] * (x[i] > 0 ? 0.0f : x[i]);
      dx[i] = dy[i] * (x[i] > 0 ? 1.0f : slope);
    }
    total += sum;
  }
  return total;
}

}  // namespace

void Prelu(const PreluShape& shape, const float* x, const float* slope, float* y) {
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < shape.planes; ++plane) {
    const int64_t start = plane * shape.inner;
    PreluPlane(x + start, slope[plane % shape.slopes], y + start, shape.inner);
  }
}

void PreluGrad(const PreluShape& shape, const float* x, const float* slope, const float* dy, float* dx,
               float* slope_grad) {
  std::vector<double> sums(shape.planes);
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < shape.planes; ++plane) {
    const int64_t start = plane * shape.inner;
    sums[plane] = PreluGradPlane(x + start, slope[plane % shape.slopes], dy + start, dx + start, shape.inner);
  }
  if (slope_grad == nullptr) { return; }
  // In one order whatever the number of threads, so that runs repeat.
  std::vector<double> totals(shape.slopes, 0.0);
  for (int64_t plane = 0; plane < shape.planes; ++plane) { totals[plane % shape.slopes] += sums[plane]; }
  for (int64_t i = 0; i < shape.slopes; ++i) { slope_grad[i] = static_cast<float>(totals[i]); }
}

}  // namespace insightface
