#include "single_ops/plane_loops.h"

namespace insightface {
namespace INSIGHTFACE_LEVEL {
namespace {

void Prelu(const float* x, float slope, float* y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { y[i] = x[i] > 0 ? x[i] : x[i] * slope; }
}

double PreluGrad(const float* x, float slope, const float* dy, float* dx, int64_t count) {
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

PlaneSums SumMoments(const float* x, int64_t count) {
  double sum = 0;
  double squares = 0;
#pragma omp simd reduction(+ : sum, squares)
  for (int64_t i = 0; i < count; ++i) {
    const double value = x[i];
    sum += value;
    squares += value * value;
  }
  return {sum, squares};
}

PlaneSums SumGradients(const float* x, const float* dy, float mean, int64_t count) {
  double sum = 0;
  double dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (int64_t i = 0; i < count; ++i) {
    const double gradient = dy[i];
    sum += gradient;
    dot += static_cast<double>(x[i] - mean) * gradient;
  }
  return {sum, dot};
}

void Normalise(const float* x, float mean, float scale, float beta, float* y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { y[i] = (x[i] - mean) * scale + beta; }
}

void NormaliseAndAdd(const float* x, float mean, float scale, float beta, const float* addend, float* y,
                     int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { y[i] = (x[i] - mean) * scale + beta + addend[i]; }
}

void InputGradient(const float* x, const float* dy, float mean, float mean_gradient, float projection, float scale,
                   float* dx, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) { dx[i] = (dy[i] - mean_gradient - (x[i] - mean) * projection) * scale; }
}

}  // namespace

const PlaneLoops kPlaneLoops = {Prelu, PreluGrad, SumMoments, SumGradients, Normalise, NormaliseAndAdd, InputGradient};

}  // namespace INSIGHTFACE_LEVEL
}  // namespace insightface
