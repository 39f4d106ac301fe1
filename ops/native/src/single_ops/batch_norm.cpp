#include "single_ops/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "single_ops/plane_loops.h"

namespace insightface {
namespace {

void NormaliseChannel(const BatchNormShape& shape, int64_t channel, const float* x, float mean, float scale, float beta,
                      const float* addend, float* y) {
  for (int64_t image = 0; image < shape.batch; ++image) {
    const int64_t start = (image * shape.channels + channel) * shape.inner;
    if (addend != nullptr) {
      kPlaneLoops.NormaliseAndAdd(x + start, mean, scale, beta, addend + start, y + start, shape.inner);
    } else {
      kPlaneLoops.Normalise(x + start, mean, scale, beta, y + start, shape.inner);
    }
  }
}

}  // namespace

void BatchNormTraining(const BatchNormShape& shape, const float* x, const float* gamma, const float* beta,
                       float epsilon, const MovingStatistics& moving, const float* addend, float* y, float* batch_mean,
                       float* batch_inverse_std) {
  const double count = static_cast<double>(shape.batch) * static_cast<double>(shape.inner);
  const double unbiased = count > 1 ? count / (count - 1) : 1.0;
#pragma omp parallel for schedule(static)
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    double sum = 0;
    double squares = 0;
    for (int64_t image = 0; image < shape.batch; ++image) {
      const PlaneSums part = kPlaneLoops.SumMoments(x + (image * shape.channels + channel) * shape.inner, shape.inner);
      sum += part.first;
      squares += part.second;
    }
    const double mean = sum / count;
    const double variance = std::max(0.0, squares / count - mean * mean);
    const double inverse_std = 1.0 / std::sqrt(variance + static_cast<double>(epsilon));
    batch_mean[channel] = static_cast<float>(mean);
    batch_inverse_std[channel] = static_cast<float>(inverse_std);
    if (moving.mean != nullptr) {
      const double keep = moving.momentum;
      moving.mean[channel] = static_cast<float>(moving.mean[channel] * keep + mean * (1 - keep));
      moving.variance[channel] = static_cast<float>(moving.variance[channel] * keep + variance * unbiased * (1 - keep));
    }
    NormaliseChannel(shape, channel, x, batch_mean[channel], static_cast<float>(gamma[channel] * inverse_std),
                     beta[channel], addend, y);
  }
}

void BatchNormInference(const BatchNormShape& shape, const float* x, const float* mean, const float* variance,
                        const float* gamma, const float* beta, float epsilon, const float* addend, float* y) {
#pragma omp parallel for schedule(static)
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    const double inverse_std = 1.0 / std::sqrt(static_cast<double>(variance[channel]) + epsilon);
    NormaliseChannel(shape, channel, x, mean[channel], static_cast<float>(gamma[channel] * inverse_std), beta[channel],
                     addend, y);
  }
}

void BatchNormGrad(const BatchNormShape& shape, const float* x, const float* dy, const float* batch_mean,
                   const float* batch_inverse_std, const float* gamma, float* dx, float* gamma_grad, float* beta_grad) {
  const double count = static_cast<double>(shape.batch) * static_cast<double>(shape.inner);
#pragma omp parallel for schedule(static)
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    const float mean = batch_mean[channel];
    double sum = 0;
    double dot = 0;
    for (int64_t image = 0; image < shape.batch; ++image) {
      const int64_t start = (image * shape.channels + channel) * shape.inner;
      const PlaneSums part = kPlaneLoops.SumGradients(x + start, dy + start, mean, shape.inner);
      sum += part.first;
      dot += part.second;
    }
    const double inverse_std = batch_inverse_std[channel];
    const float projection = static_cast<float>(dot * inverse_std * inverse_std / count);
    const float mean_gradient = static_cast<float>(sum / count);
    const float scale = static_cast<float>(inverse_std * gamma[channel]);
    for (int64_t image = 0; image < shape.batch; ++image) {
      const int64_t start = (image * shape.channels + channel) * shape.inner;
      kPlaneLoops.InputGradient(x + start, dy + start, mean, mean_gradient, projection, scale, dx + start, shape.inner);
    }
    gamma_grad[channel] = static_cast<float>(dot * inverse_std);
    beta_grad[channel] = static_cast<float>(sum);
  }
}

}  // namespace insightface
