// computes          v = (x - mean) / sqrt(variance + epsilon) * gamma + beta, then y = PReLU(v) or v + addend
// writes            moving statistics (kBatch); in training mean and inverse standard deviation, saved for backward
// reads in backward x, dy, the saved statistics
// writes            dgamma, dbeta, dslope
// writes or adds    dx; d(addend) = dy, which may share the memory of dy instead
#include "network/layers/batch_norm_layer.h"

#include <cmath>

#include "network/arithmetic/block_sums.h"
#include "network/arithmetic/channel_rows.h"
#include "network/layers/accumulate.h"

namespace insightface {
namespace {

template<typename T>
class BatchNormLayer final : public Layer {
 public:
  BatchNormLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch,
                 const BatchNormArrays& arrays, float epsilon, float momentum, NormStatistics statistics)
      : Layer(inputs, output),
        arrays_(arrays),
        epsilon_(epsilon),
        momentum_(momentum),
        training_(statistics != NormStatistics::kMoving),
        measures_(statistics == NormStatistics::kBatch),
        channels_(value.shape.channels),
        rows_(batch * value.shape.Pixels()),
        ones_(channels_, 1.0f),
        statistics_(training_ ? 0 : 2 * channels_),
        scale_(channels_),
        offset_factor_(channels_),
        constant_(channels_) {}

  std::vector<RowStage> ForwardStages() override {
    RowStage apply{rows_, (1 + static_cast<int64_t>(inputs.size())) * channels_};
    apply.begin = [this](const ExecutionContext& context, char*) {
      if (!measures_) { ReadStatistics(context); }
      affine_ = MakeAffine(context);
    };
    apply.work = [this](const ExecutionContext& context, int64_t first, int64_t last, int) {
      const int64_t start = first * channels_;
      const T* const addend = inputs.size() > 1 ? context.ValueAt<const T>(inputs[1]) + start : nullptr;
      kChannelRows.Of<T>().ApplyAffine(context.ValueAt<const T>(inputs[0]) + start, addend, last - first, channels_,
                                       affine_, context.ValueAt<T>(output) + start);
    };
    if (!measures_) { return {apply}; }
    RowStage measure{rows_, channels_};
    measure.reduces = true;
    measure.begin = [this](const ExecutionContext&, char*) { moments_.Reset(channels_); };
    measure.work = [this](const ExecutionContext& context, int64_t first, int64_t last, int thread) {
      moments_.AddBlock(context.ValueAt<const T>(inputs[0]) + first * channels_, last - first, thread);
    };
    measure.end = [this](const ExecutionContext& context) { UpdateStatistics(context); };
    return {measure, apply};
  }

  std::vector<RowStage> BackwardStages() override {
    RowStage sum{rows_, 2 * channels_};
    sum.reduces = measures_;  // with constant statistics dx needs no sums
    sum.begin = [this](const ExecutionContext& context, char*) {
      affine_ = MakeAffine(context);
      sums_.Reset((affine_.slope != nullptr ? 3 : 2) * channels_);
    };
    sum.work = [this](const ExecutionContext& context, int64_t first, int64_t last, int thread) {
      const int64_t start = first * channels_;
      sums_.AddBlock(thread, [&](float* part) {
        kChannelRows.Of<T>().AddGradientSums(
            context.ValueAt<const T>(inputs[0]) + start, context.GradientAt<const T>(output) + start, last - first,
            channels_, affine_, {part, part + channels_, affine_.slope != nullptr ? part + 2 * channels_ : nullptr});
      });
    };
    sum.end = [this](const ExecutionContext& context) { UseSums(context); };
    RowStage apply{rows_, (2 + static_cast<int64_t>(inputs.size())) * channels_};
    apply.work = [this](const ExecutionContext& context, int64_t first, int64_t last, int) {
      const int64_t start = first * channels_;
      const T* const dy = context.GradientAt<const T>(output);
      if (uses[0].wanted) {
        kChannelRows.Of<T>().ApplyGradient(context.ValueAt<const T>(inputs[0]) + start, dy + start, last - first,
                                           channels_, affine_, offset_factor_.data(), constant_.data(), uses[0].adds,
                                           context.GradientAt<T>(inputs[0]) + start);
      }
      if (inputs.size() > 1) { PassGradientRange(context, *this, 1, start, last * channels_, dy); }
    };
    return {sum, apply};
  }

  std::vector<int> ReadInBackward() const override { return {inputs[0]}; }
  bool PassesGradient(size_t input) const override { return input == 1; }
  bool HasParameters() const override { return true; }
  int64_t SavedBytes() const override { return training_ ? 2 * channels_ * static_cast<int64_t>(sizeof(float)) : 0; }

 private:
  float* SavedMean(const ExecutionContext& context) const {
    return reinterpret_cast<float*>(context.saved + saved_offset);
  }

  float* Mean(const ExecutionContext& context) { return training_ ? SavedMean(context) : statistics_.data(); }

  ChannelAffine MakeAffine(const ExecutionContext& context) {
    const float* const mean = Mean(context);
    const float* const gamma = arrays_.gamma >= 0 ? context.parameters[arrays_.gamma] : ones_.data();
    for (int64_t c = 0; c < channels_; ++c) { scale_[c] = gamma[c] * mean[channels_ + c]; }
    const float* const slope = arrays_.slope >= 0 ? context.parameters[arrays_.slope] : nullptr;
    return {mean, scale_.data(), context.parameters[arrays_.beta], slope};
  }

  void ReadStatistics(const ExecutionContext& context) {
    float* const mean = Mean(context);
    for (int64_t c = 0; c < channels_; ++c) {
      mean[c] = context.moving[arrays_.moving_mean][c];
      mean[channels_ + c] = 1.0f / std::sqrt(context.moving[arrays_.moving_variance][c] + epsilon_);
    }
  }

  void UpdateStatistics(const ExecutionContext& context) const {
    float* const mean = SavedMean(context);
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

  void UseSums(const ExecutionContext& context) {
    const std::vector<double> sums = sums_.Total();
    const float* const inverse_std = SavedMean(context) + channels_;
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

  const BatchNormArrays arrays_;
  const float epsilon_;
  const float momentum_;
  const bool training_, measures_;
  const int64_t channels_;
  const int64_t rows_;
  const std::vector<float> ones_;
  // Of the current execution.
  std::vector<float> statistics_;  // moving mean and inverse standard deviation, outside training
  std::vector<float> scale_, offset_factor_, constant_;
  ChannelAffine affine_{};
  BlockMoments moments_;
  BlockSums sums_;
};

}  // namespace

std::unique_ptr<Layer> MakeBatchNormLayer(const std::vector<int>& inputs, int output, const Value& value, int64_t batch,
                                          const BatchNormArrays& arrays, float epsilon, float momentum,
                                          NormStatistics statistics) {
  if (value.type == NumberType::kFloat32) {
    return std::make_unique<BatchNormLayer<float>>(inputs, output, value, batch, arrays, epsilon, momentum, statistics);
  }
  return std::make_unique<BatchNormLayer<BFloat16>>(inputs, output, value, batch, arrays, epsilon, momentum,
                                                    statistics);
}

}  // namespace insightface
