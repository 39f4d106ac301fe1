// The inner loops of PReLU and batch normalisation along one plane: the `count` values of one channel of one image.
#pragma once

#include <cstdint>

#include "base/instruction_sets.h"

namespace insightface {

struct PlaneSums {
  double first;
  double second;
};

struct PlaneLoops {
  // y = x where x > 0, else x * slope.
  void (*Prelu)(const float* x, float slope, float* y, int64_t count);
  // Writes dx and returns the plane's part of the slope's gradient.
  double (*PreluGrad)(const float* x, float slope, const float* dy, float* dx, int64_t count);
  // Sums of x and of its square.
  PlaneSums (*SumMoments)(const float* x, int64_t count);
  // Sums of dy and of (x - mean) * dy.
  PlaneSums (*SumGradients)(const float* x, const float* dy, float mean, int64_t count);
  // y = (x - mean) * scale + beta
  void (*Normalise)(const float* x, float mean, float scale, float beta, float* y, int64_t count);
  // y = (x - mean) * scale + beta + addend
  void (*NormaliseAndAdd)(const float* x, float mean, float scale, float beta, const float* addend, float* y,
                          int64_t count);
  // dx = (dy - mean_gradient - (x - mean) * projection) * scale
  void (*InputGradient)(const float* x, const float* dy, float mean, float mean_gradient, float projection, float scale,
                        float* dx, int64_t count);
};
INSIGHTFACE_LOOPS(PlaneLoops, kPlaneLoops)

}  // namespace insightface
