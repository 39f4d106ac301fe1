// Batch normalisation (Ioffe and Szegedy, 2015) over dense float32 tensors [batch, channels, inner]. Sums are kept in
// double, so that channels whose mean is far from zero keep their variance.
#pragma once

#include <cstdint>

namespace insightface {

struct BatchNormShape {
  int64_t batch;
  int64_t channels;
  int64_t inner;
};

// Moving statistics; none are kept if `mean` is null.
// New value = momentum * old + (1 - momentum) * statistic of the batch, with the unbiased variance.
struct MovingStatistics {
  float* mean;
  float* variance;
  float momentum;
};

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta with the statistics of the batch, which are written to
// batch_mean and batch_inverse_std [channels] for the backward pass. `addend`, unless null, is added to y.
void BatchNormTraining(const BatchNormShape& shape, const float* x, const float* gamma, const float* beta,
                       float epsilon, const MovingStatistics& moving, const float* addend, float* y, float* batch_mean,
                       float* batch_inverse_std);

// The same with given statistics.
void BatchNormInference(const BatchNormShape& shape, const float* x, const float* mean, const float* variance,
                        const float* gamma, const float* beta, float epsilon, const float* addend, float* y);

// Gradients of BatchNormTraining with respect to x, gamma and beta.
void BatchNormGrad(const BatchNormShape& shape, const float* x, const float* dy, const float* batch_mean,
                   const float* batch_inverse_std, const float* gamma, float* dx, float* gamma_grad, float* beta_grad);

}  // namespace insightface
