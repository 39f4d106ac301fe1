#include "network/layers/normalisation.h"

#include <cmath>

namespace insightface {

Normalisation::Normalisation(const BatchNormArrays& arrays, int64_t channels, int64_t rows, float epsilon,
                             float momentum, NormStatistics statistics)
    : arrays_(arrays),
      epsilon_(epsilon),
      momentum_(momentum),
      training_(statistics != NormStatistics::kMoving),
      measures_(statistics == NormStatistics::kBatch),
      channels_(channels),
      rows_(rows),
      ones_(channels, 1.0f),
      statistics_(training_ ? 0 : 2 * channels),
      scale_(channels),
      offset_factor_(channels),
      constant_(channels) {}

void Normalisation::MakeAffine(const ExecutionContext& context, char* saved) {
  const float* const mean = Mean(saved);
  const float* const gamma = arrays_.gamma >= 0 ? context.parameters[arrays_.gamma] : ones_.data();
  for (int64_t c = 0; c < channels_; ++c) { scale_[c] = gamma[c] * mean[channels_ + c]; }
  // Copies: a layer that takes over a part of the backward pass reads them when the arrays may have been updated.
  const float* const beta = context.parameters[arrays_.beta];
  shift_.assign(beta, beta + channels_);
  if (arrays_.slope >= 0) {
    const float* const slope = context.parameters[arrays_.slope];
    slope_.assign(slope, slope + channels_);
  }
  affine_ = {mean, scale_.data(), shift_.data(), arrays_.slope >= 0 ? slope_.data() : nullptr};
}

void Normalisation::ReadStatistics(const ExecutionContext& context, char* saved) {
  float* const mean = Mean(saved);
  for (int64_t c = 0; c < channels_; ++c) {
    mean[c] = context.moving[arrays_.moving_mean][c];
    mean[channels_ + c] = 1.0f / std::sqrt(context.moving[arrays_.moving_variance][c] + epsilon_);
  }
}

void Normalisation::UpdateStatistics(const ExecutionContext& context, char* saved) const {
  float* const mean = reinterpret_cast<float*>(saved);
  float* const inverse_std = mean + channels_;
  const double count = static_cast<double>(rows_);
  for (int64_t c = 0; c < channels_; ++c) {
    const Moments moments = moments_.OfChannel(c);
    mean[c] = static_cast<float>(moments.mean);
    inverse_std[c] = static_cast<float>(1.0 / std::sqrt(moments.variance + epsilon_));
    float& moving_mean = context.moving[arrays_.moving_mean][c];
    float& moving_variance = context.moving[arrays_.moving_variance][c];
    const double unbiased = rows_ > 1 ? moments.variance * count / (count - 1) : moments.variance;
    moving_mean = momentum_ * moving_mean + (1 - momentum_) * mean[c];
    moving_variance = momentum_ * moving_variance + (1 - momentum_) * static_cast<float>(unbiased);
  }
}

void Normalisation::UseSums(const ExecutionContext& context, char* saved) {
  const std::vector<double> sums = sums_.Total();
  const float* const inverse_std = reinterpret_cast<float*>(saved) + channels_;
  for (int64_t c = 0; c < channels_; ++c) {
    const double beta_gradient = sums[c];
    const double gamma_gradient = sums[channels_ + c] * inverse_std[c];
    if (measures_) {  // else they stay 0
      const double count = static_cast<double>(rows_);
      offset_factor_[c] = static_cast<float>(-gamma_gradient / count * inverse_std[c] * scale_[c]);
      constant_[c] = static_cast<float>(-beta_gradient / count * scale_[c]);
    }
    context.parameter_gradients[arrays_.beta][c] = static_cast<float>(beta_gradient);
    if (arrays_.gamma >= 0) { context.parameter_gradients[arrays_.gamma][c] = static_cast<float>(gamma_gradient); }
    if (arrays_.slope >= 0) {
      context.parameter_gradients[arrays_.slope][c] = static_cast<float>(sums[2 * channels_ + c]);
    }
  }
}

}  // namespace insightface
