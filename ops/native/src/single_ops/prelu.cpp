#include "single_ops/prelu.h"

#include <vector>

#include "single_ops/plane_loops.h"

namespace insightface {
void Prelu(const PreluShape& shape, const float* x, const float* slope, float* y) {
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < shape.planes; ++plane) {
    const int64_t start = plane * shape.inner;
    kPlaneLoops.Prelu(x + start, slope[plane % shape.slopes], y + start, shape.inner);
  }
}

void PreluGrad(const PreluShape& shape, const float* x, const float* slope, const float* dy, float* dx,
               float* slope_grad) {
  std::vector<double> sums(shape.planes);
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < shape.planes; ++plane) {
    const int64_t start = plane * shape.inner;
    sums[plane] = kPlaneLoops.PreluGrad(x + start, slope[plane % shape.slopes], dy + start, dx + start, shape.inner);
  }
  if (slope_grad == nullptr) { return; }
  // Sums in the same order for any number of threads, so that runs repeat.
  std::vector<double> totals(shape.slopes, 0.0);
  for (int64_t plane = 0; plane < shape.planes; ++plane) { totals[plane % shape.slopes] += sums[plane]; }
  for (int64_t i = 0; i < shape.slopes; ++i) { slope_grad[i] = static_cast<float>(totals[i]); }
}

}  // namespace insightface
